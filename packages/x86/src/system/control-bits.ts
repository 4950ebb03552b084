/** Bits of the control registers and of EFER (SDM volume 3, 2.5 and 2.2.1). */

export const Cr0 = {
  pe: 0x1,
  mp: 0x2,
  em: 0x4,
  ts: 0x8,
  et: 0x10,
  ne: 0x20,
  wp: 0x1_0000,
  am: 0x4_0000,
  nw: 0x2000_0000,
  cd: 0x4000_0000,
  pg: 0x8000_0000,
} as const

export const Cr4 = {
  vme: 0x1,
  pvi: 0x2,
  tsd: 0x4,
  de: 0x8,
  pse: 0x10,
  pae: 0x20,
  mce: 0x40,
  pge: 0x80,
  pce: 0x100,
  osfxsr: 0x200,
  osxmmexcpt: 0x400,
  umip: 0x800,
  la57: 0x1000,
  fsgsbase: 0x1_0000,
  pcide: 0x2_0000,
  osxsave: 0x4_0000,
  smep: 0x10_0000,
  smap: 0x20_0000,
} as const

export const Efer = { sce: 0x1, lme: 0x100, lma: 0x400, nxe: 0x800 } as const
