/**
 * The registers of an x86-64 vCPU as gdb numbers and describes them.
 *
 * GDB manual, appendix G.5.4 (i386 features): `core`, `sse` and `segments` have prescribed names and sizes; system
 * registers are in a feature of our own, which gdb shows as it is told. A register's number is its place in `REGISTERS`.
 */
import type { FpuState, VcpuState } from '@trapframe/cpu'

/** One register. Values are little-endian, `bits / 8` bytes long. */
export interface GdbRegister {
  readonly name: string
  readonly bits: number
  readonly type: string
  readonly feature: string
  readonly group?: string
  read(state: VcpuState): bigint
  /** Answers the state with the register changed. */
  write(state: VcpuState, value: bigint): VcpuState
}

const CORE = 'org.gnu.gdb.i386.core'
const SSE = 'org.gnu.gdb.i386.sse'
const SEGMENTS = 'org.gnu.gdb.i386.segments'
const SYSTEM = 'org.trapframe.x86-64.system'

/** gdb's order of the general registers, as indices of `VcpuState.gpr`. */
const GPR_ORDER = [
  ['rax', 0],
  ['rbx', 3],
  ['rcx', 1],
  ['rdx', 2],
  ['rsi', 6],
  ['rdi', 7],
  ['rbp', 5],
  ['rsp', 4],
  ...Array.from({ length: 8 }, (_, n) => [`r${n + 8}`, n + 8] as const),
] as const

/** gdb's order of the segment registers, as indices of `VcpuState.segments`. */
const SEGMENT_ORDER = [
  ['cs', 1],
  ['ss', 2],
  ['ds', 3],
  ['es', 0],
  ['fs', 4],
  ['gs', 5],
] as const

const EFER = 0xc000_0080
const KERNEL_GS_BASE = 0xc000_0102

/** All registers, in the order of gdb's numbers. */
export const REGISTERS: readonly GdbRegister[] = [
  ...GPR_ORDER.map(([name, index]): GdbRegister => {
    const type = name === 'rsp' || name === 'rbp' ? 'data_ptr' : 'int64'
    return {
      ...core(name, 64, type),
      read: (state) => state.gpr[index]!,
      write: (state, value) => ({ ...state, gpr: state.gpr.map((old, n) => (n === index ? value : old)) }),
    }
  }),
  {
    ...core('rip', 64, 'code_ptr'),
    read: (state) => state.rip,
    write: (state, value) => ({ ...state, rip: value }),
  },
  {
    ...core('eflags', 32, 'i386_eflags'),
    read: (state) => state.rflags,
    write: (state, value) => ({ ...state, rflags: value | 2n }),
  },
  // A selector alone does not make a segment: writes are taken note of and change nothing.
  ...SEGMENT_ORDER.map(
    ([name, index]): GdbRegister => ({
      ...core(name, 32, 'int32'),
      read: (state) => BigInt(state.segments[index]!.selector),
      write: (state) => state,
    }),
  ),
  ...Array.from(
    { length: 8 },
    (_, n): GdbRegister => ({
      ...core(`st${n}`, 80, 'i387_ext'),
      read: (state) => little(state.fpu.registers, physical(state.fpu, n) * 10, 10),
      write: (state, value) =>
        withFpu(state, {
          registers: withLittle(state.fpu.registers, physical(state.fpu, n) * 10, 10, value),
        }),
    }),
  ),
  fpu(
    'fctrl',
    (f) => BigInt(f.fcw),
    (value) => ({ fcw: Number(value & 0xffffn) }),
  ),
  fpu(
    'fstat',
    (f) => BigInt(f.fsw),
    (value) => ({ fsw: Number(value & 0xffffn) }),
  ),
  fpu(
    'ftag',
    (f) => BigInt(f.ftw),
    (value) => ({ ftw: Number(value & 0xffffn) }),
  ),
  fpu(
    'fiseg',
    (f) => (f.fip >> 32n) & 0xffffn,
    () => ({}),
  ),
  fpu(
    'fioff',
    (f) => f.fip & 0xffff_ffffn,
    () => ({}),
  ),
  fpu(
    'foseg',
    (f) => (f.fdp >> 32n) & 0xffffn,
    () => ({}),
  ),
  fpu(
    'fooff',
    (f) => f.fdp & 0xffff_ffffn,
    () => ({}),
  ),
  fpu(
    'fop',
    (f) => BigInt(f.fop),
    (value) => ({ fop: Number(value & 0x7ffn) }),
  ),
  ...Array.from(
    { length: 16 },
    (_, n): GdbRegister => ({
      name: `xmm${n}`,
      bits: 128,
      type: 'vec128',
      feature: SSE,
      read: (state) => little(state.fpu.ymm, n * 32, 16),
      write: (state, value) => withFpu(state, { ymm: withLittle(state.fpu.ymm, n * 32, 16, value) }),
    }),
  ),
  {
    name: 'mxcsr',
    bits: 32,
    type: 'i386_mxcsr',
    feature: SSE,
    group: 'vector',
    read: (state) => BigInt(state.fpu.mxcsr),
    write: (state, value) => withFpu(state, { mxcsr: Number(value & 0xffffn) }),
  },
  segmentBase('fs_base', 4),
  segmentBase('gs_base', 5),
  msr('k_gs_base', KERNEL_GS_BASE),
  control(
    'cr0',
    (state) => state.cr0,
    (state, value) => ({ ...state, cr0: value }),
  ),
  control(
    'cr2',
    (state) => state.cr2,
    (state, value) => ({ ...state, cr2: value }),
  ),
  control(
    'cr3',
    (state) => state.cr3,
    (state, value) => ({ ...state, cr3: value }),
  ),
  control(
    'cr4',
    (state) => state.cr4,
    (state, value) => ({ ...state, cr4: value }),
  ),
  control(
    'cr8',
    (state) => BigInt(state.cr8),
    (state, value) => ({ ...state, cr8: Number(value & 0xfn) }),
  ),
  msr('efer', EFER),
]

/** `target.xml`: what gdb is told about the registers. */
export function targetDescription(): string {
  const features = [...new Set(REGISTERS.map((register) => register.feature))]
  const body = features.map((feature) => {
    const registers = REGISTERS.flatMap((register, number) => {
      if (register.feature !== feature) return []
      const group = register.group === undefined ? '' : ` group="${register.group}"`
      return [
        `<reg name="${register.name}" bitsize="${register.bits}" type="${register.type}" regnum="${number}"${group}/>`,
      ]
    })
    return `<feature name="${feature}">${TYPES[feature] ?? ''}${registers.join('')}</feature>`
  })
  return `<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target><architecture>i386:x86-64</architecture>${body.join('')}</target>`
}

function field(name: string, bit: number): string {
  return `<field name="${name}" start="${bit}" end="${bit}"/>`
}

const EFLAGS: readonly (readonly [string, number])[] = [
  ['CF', 0],
  ['', 1],
  ['PF', 2],
  ['AF', 4],
  ['ZF', 6],
  ['SF', 7],
  ['TF', 8],
  ['IF', 9],
  ['DF', 10],
  ['OF', 11],
  ['NT', 14],
  ['RF', 16],
  ['VM', 17],
  ['AC', 18],
  ['VIF', 19],
  ['VIP', 20],
  ['ID', 21],
]
const MXCSR = ['IE', 'DE', 'ZE', 'OE', 'UE', 'PE', 'DAZ', 'IM', 'DM', 'ZM', 'OM', 'UM', 'PM']
const VECTORS: readonly (readonly [name: string, type: string, count: number])[] = [
  ['v4f', 'ieee_single', 4],
  ['v2d', 'ieee_double', 2],
  ['v16i8', 'int8', 16],
  ['v8i16', 'int16', 8],
  ['v4i32', 'int32', 4],
  ['v2i64', 'int64', 2],
]

/** Types that a feature defines for its registers. */
const TYPES: Readonly<Record<string, string>> = {
  [CORE]: `<flags id="i386_eflags" size="4">${EFLAGS.map(([name, bit]) => field(name, bit)).join('')}</flags>`,
  [SSE]: [
    ...VECTORS.map(([name, type, count]) => `<vector id="${name}" type="${type}" count="${count}"/>`),
    '<union id="vec128">',
    ...['v4_float', 'v2_double', 'v16_int8', 'v8_int16', 'v4_int32', 'v2_int64'].map(
      (name, n) => `<field name="${name}" type="${VECTORS[n]![0]}"/>`,
    ),
    '<field name="uint128" type="uint128"/></union>',
    `<flags id="i386_mxcsr" size="4">${MXCSR.map(field).join('')}${field('FZ', 15)}</flags>`,
  ].join(''),
}

/** Reads a register as bytes. */
export function readRegister(register: GdbRegister, state: VcpuState): Uint8Array {
  const bytes = new Uint8Array(register.bits / 8)
  const value = register.read(state)
  for (let n = 0; n < bytes.length; n++) bytes[n] = Number((value >> BigInt(8 * n)) & 0xffn)
  return bytes
}

/** Writes a register from bytes. */
export function writeRegister(register: GdbRegister, state: VcpuState, bytes: Uint8Array): VcpuState {
  return register.write(state, little(bytes, 0, register.bits / 8))
}

function core(name: string, bits: number, type: string): Omit<GdbRegister, 'read' | 'write'> {
  return { name, bits, type, feature: CORE }
}

function fpu(
  name: string,
  read: (fpu: FpuState) => bigint,
  write: (value: bigint) => Partial<FpuState>,
): GdbRegister {
  return {
    ...core(name, 32, 'int'),
    group: 'float',
    read: (state) => read(state.fpu),
    write: (state, value) => withFpu(state, write(value)),
  }
}

function control(name: string, read: GdbRegister['read'], write: GdbRegister['write']): GdbRegister {
  return { name, bits: 64, type: 'int64', feature: SYSTEM, group: 'system', read, write }
}

function msr(name: string, index: number): GdbRegister {
  return control(
    name,
    (state) => state.msrs.find(([number]) => number === index)?.[1] ?? 0n,
    (state, value) => ({
      ...state,
      msrs: state.msrs.map((entry) => (entry[0] === index ? ([index, value] as const) : entry)),
    }),
  )
}

function segmentBase(name: string, index: number): GdbRegister {
  return {
    name,
    bits: 64,
    type: 'int64',
    feature: SEGMENTS,
    read: (state) => state.segments[index]!.base,
    write: (state, value) => ({
      ...state,
      segments: state.segments.map((old, n) => (n === index ? { ...old, base: value } : old)),
    }),
  }
}

function withFpu(state: VcpuState, change: Partial<FpuState>): VcpuState {
  return { ...state, fpu: { ...state.fpu, ...change } }
}

/** Physical register of ST(n): TOP is in bits 11 to 13 of the status word. */
function physical(fpu: FpuState, n: number): number {
  return ((fpu.fsw >> 11) + n) & 7
}

function little(bytes: Uint8Array, at: number, length: number): bigint {
  let value = 0n
  for (let n = length - 1; n >= 0; n--) value = (value << 8n) | BigInt(bytes[at + n] ?? 0)
  return value
}

function withLittle(bytes: Uint8Array, at: number, length: number, value: bigint): Uint8Array {
  const copy = bytes.slice()
  for (let n = 0; n < length; n++) copy[at + n] = Number((value >> BigInt(8 * n)) & 0xffn)
  return copy
}
