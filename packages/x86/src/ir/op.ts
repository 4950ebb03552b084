/**
 * Operations of the intermediate representation (IR).
 *
 * Pure numeric operations carry WebAssembly's own opcode (SIMD ones: 0x100 + sub-opcode), so the compilers emit them
 * as they are; the table gives their operand and result types. What a guest instruction needs beyond them (state,
 * guest memory, flags, faults, control) has numbers from `Op.first` up.
 */

/** Types of values. The numbers are the IR's own. */
export const Type = { none: 0, i32: 1, i64: 2, f32: 3, f64: 4, v128: 5 } as const
export type Type = (typeof Type)[keyof typeof Type]

/** How a load or store touches memory. Loads of fewer than 64 bits as `u…` zero-extend to i64. */
export const Access = {
  u8: 0,
  u16: 1,
  u32: 2,
  u64: 3,
  /** 32 bits as an i32. */
  i32: 4,
  f32: 5,
  f64: 6,
  v128: 7,
} as const
export type Access = (typeof Access)[keyof typeof Access]
/** Bytes of each `Access`. */
export const accessBytes: readonly number[] = [1, 2, 4, 8, 4, 4, 8, 16]
/** Type of what each `Access` loads. */
export const accessType: readonly Type[] = [
  Type.i64,
  Type.i64,
  Type.i64,
  Type.i64,
  Type.i32,
  Type.f32,
  Type.f64,
  Type.v128,
]

/** Operations of the IR that are not numeric; those have WebAssembly's opcodes. */
export const Op = {
  /** Everything from here on is not a WebAssembly opcode. */
  first: 0x280,
  /** a, b: low and high 32 bits. */
  constant: 0x280,
  /** aux: index into the vector-constant pool. */
  vectorConstant: 0x281,
  /** aux: index. A parameter of the procedure or handler. */
  parameter: 0x282,
  /** aux: local. */
  localGet: 0x283,
  /** aux: local; a: value. */
  localSet: 0x284,
  /** a: condition (i32), b: if true, c: else. */
  select: 0x285,
  /** aux: lane (numeric in `c`: lane opcode). a: vector. */
  extractLane: 0x286,
  /** a: vector, b: scalar, c: lane opcode, aux: lane. */
  replaceLane: 0x287,
  /** a, b: vectors; aux: index into the pool (16 lane numbers). */
  shuffle: 0x288,

  // Structured control. aux: label.
  block: 0x290,
  loop: 0x291,
  /** a: condition. */
  if: 0x292,
  else: 0x293,
  end: 0x294,
  /** To the end of a block, or the start of a loop. */
  br: 0x295,
  /** a: condition. */
  brIf: 0x296,
  /** Faults inside go to the end of this region instead of abandoning the instruction. Ends with `end`. */
  attempt: 0x297,
  /** i32: 1 if a fault is pending; which is then forgotten. */
  takeFault: 0x298,
  /** a: value or -1. Leaves a procedure. */
  return: 0x299,
  /** aux: procedure; a: first in `extra`; b: count of arguments. */
  call: 0x29a,

  // State and engine memory. aux: Access; a: i32 address added to the state base (stateLoad: -1 for none), c: constant offset.
  stateLoad: 0x2a0,
  /** b: value. */
  stateStore: 0x2a1,
  /** a: absolute i32 address. */
  hostLoad: 0x2a2,
  hostStore: 0x2a3,
  /** a: destination, b: source, c: length, all i32. WebAssembly's memory.copy. */
  hostCopy: 0x2a4,
  /** a: destination, b: byte, c: length. */
  hostFill: 0x2a5,
  /** The state base itself, i32. */
  stateBase: 0x2a6,

  // Guest memory at a linear address. aux: Access | privilege << 4 (0: current, 1: supervisor). May fault.
  /** a: linear address (i64). */
  guestLoad: 0x2b0,
  /** a: linear address, b: value. */
  guestStore: 0x2b1,
  /**
   * a: linear address. An i32 reference to memory that is readable and writable: all faults of the store are taken
   * here. Valid until the next reference is made; at most two at a time (see `aux` bit 8: which).
   */
  guestRef: 0x2b2,
  /** aux: Access; a: reference. */
  refLoad: 0x2b3,
  /** a: reference, b: value, c: linear address. */
  refStore: 0x2b4,
  /** a: reference, b: expected, c: replacement; aux: Access (u8 to u64). Atomic. The value found, zero-extended. */
  refCompareExchange: 0x2b5,

  // Arithmetic flags. aux: operand size in bits | FlagsBit.
  /** a + b (+ carry) = c, all zero-extended i64. */
  flagsAdd: 0x2c0,
  /** a - b (- borrow) = c. */
  flagsSub: 0x2c1,
  /** c: result. CF = OF = AF = 0. */
  flagsLogic: 0x2c2,
  /** aux: mask of flags to set; a: i32 with the flags at their EFLAGS positions. The others stay. */
  flagsSet: 0x2c3,
  /** aux: flag bit. i32 0 or 1. */
  flagGet: 0x2c4,
  /** i32: the six flags at their EFLAGS positions. */
  flagsRead: 0x2c5,
  /** aux: condition code 0 to 15 as in Jcc. i32 0 or 1. */
  condition: 0x2c6,

  // Ends of an instruction. Falling off the end means: go on with the next one.
  /** To the direct target of the instruction. */
  branch: 0x2d0,
  /** a: RIP (i64). */
  jump: 0x2d1,
  /** a: RIP. As jump, but pending events, the mode and breakpoints are looked at again. */
  resync: 0x2d2,
  /** a: vector (i32), b: error code (i32), -1: none. */
  raise: 0x2d3,
  /** aux: ExitReason. The instruction is abandoned; `run` returns; the instruction is executed again afterwards. */
  exit: 0x2d4,
  /** RIP of the next instruction, i64. */
  nextRip: 0x2d5,
  /** RIP of this instruction, i64. */
  thisRip: 0x2d6,
} as const

/** Bits of `aux` of flagsAdd and flagsSub beside the operand size. */
export const FlagsBit = { keepCarry: 0x100, carryIn: 0x200 } as const

type NumericRow = readonly [name: string, opcode: number, operands: readonly Type[], result: Type]
const { i32, i64, f32, f64, v128 } = Type

function sequence(
  prefix: string,
  first: number,
  names: string,
  operands: readonly Type[],
  result: Type,
): NumericRow[] {
  return names
    .split(' ')
    .map((name, index): NumericRow => [`${prefix}.${name}`, first + index, operands, result])
}

const simd = 0x100
/** Every pure numeric operation: name as in WebAssembly but in camel case, opcode, operand types, result type. */
export const numericRows: readonly NumericRow[] = [
  ['i32.eqz', 0x45, [i32], i32],
  ...sequence('i32', 0x46, 'eq ne ltS ltU gtS gtU leS leU geS geU', [i32, i32], i32),
  ['i64.eqz', 0x50, [i64], i32],
  ...sequence('i64', 0x51, 'eq ne ltS ltU gtS gtU leS leU geS geU', [i64, i64], i32),
  ...sequence('f32', 0x5b, 'eq ne lt gt le ge', [f32, f32], i32),
  ...sequence('f64', 0x61, 'eq ne lt gt le ge', [f64, f64], i32),
  ...sequence('i32', 0x67, 'clz ctz popcnt', [i32], i32),
  ...sequence(
    'i32',
    0x6a,
    'add sub mul divS divU remS remU and or xor shl shrS shrU rotl rotr',
    [i32, i32],
    i32,
  ),
  ...sequence('i64', 0x79, 'clz ctz popcnt', [i64], i64),
  ...sequence(
    'i64',
    0x7c,
    'add sub mul divS divU remS remU and or xor shl shrS shrU rotl rotr',
    [i64, i64],
    i64,
  ),
  ...sequence('f32', 0x8b, 'abs neg ceil floor trunc nearest sqrt', [f32], f32),
  ...sequence('f32', 0x92, 'add sub mul div min max copysign', [f32, f32], f32),
  ...sequence('f64', 0x99, 'abs neg ceil floor trunc nearest sqrt', [f64], f64),
  ...sequence('f64', 0xa0, 'add sub mul div min max copysign', [f64, f64], f64),
  ['i32.wrapI64', 0xa7, [i64], i32],
  ['i64.extendI32S', 0xac, [i32], i64],
  ['i64.extendI32U', 0xad, [i32], i64],
  ['f32.convertI32S', 0xb2, [i32], f32],
  ['f32.convertI64S', 0xb4, [i64], f32],
  ['f32.convertI64U', 0xb5, [i64], f32],
  ['f32.demoteF64', 0xb6, [f64], f32],
  ['f64.convertI32S', 0xb7, [i32], f64],
  ['f64.convertI64S', 0xb9, [i64], f64],
  ['f64.convertI64U', 0xba, [i64], f64],
  ['f64.promoteF32', 0xbb, [f32], f64],
  ['i32.reinterpretF32', 0xbc, [f32], i32],
  ['i64.reinterpretF64', 0xbd, [f64], i64],
  ['f32.reinterpretI32', 0xbe, [i32], f32],
  ['f64.reinterpretI64', 0xbf, [i64], f64],
  ['i32.extend8S', 0xc0, [i32], i32],
  ['i32.extend16S', 0xc1, [i32], i32],
  ['i64.extend8S', 0xc2, [i64], i64],
  ['i64.extend16S', 0xc3, [i64], i64],
  ['i64.extend32S', 0xc4, [i64], i64],
  // Saturating truncations have the prefix 0xfc; numbered 0x240 + sub-opcode.
  ['i32.truncSatF32S', 0x240, [f32], i32],
  ['i32.truncSatF64S', 0x242, [f64], i32],
  ['i64.truncSatF32S', 0x244, [f32], i64],
  ['i64.truncSatF64S', 0x246, [f64], i64],
  // SIMD.
  ['i8x16.swizzle', simd + 14, [v128, v128], v128],
  ['i8x16.splat', simd + 15, [i32], v128],
  ['i16x8.splat', simd + 16, [i32], v128],
  ['i32x4.splat', simd + 17, [i32], v128],
  ['i64x2.splat', simd + 18, [i64], v128],
  ['f32x4.splat', simd + 19, [f32], v128],
  ['f64x2.splat', simd + 20, [f64], v128],
  ...sequence('i8x16', simd + 35, 'eq ne ltS ltU gtS gtU leS leU geS geU', [v128, v128], v128),
  ...sequence('i16x8', simd + 45, 'eq ne ltS ltU gtS gtU leS leU geS geU', [v128, v128], v128),
  ...sequence('i32x4', simd + 55, 'eq ne ltS ltU gtS gtU leS leU geS geU', [v128, v128], v128),
  ...sequence('f32x4', simd + 65, 'eq ne lt gt le ge', [v128, v128], v128),
  ...sequence('f64x2', simd + 71, 'eq ne lt gt le ge', [v128, v128], v128),
  ['v128.not', simd + 77, [v128], v128],
  ...sequence('v128', simd + 78, 'and andnot or xor', [v128, v128], v128),
  ['v128.bitselect', simd + 82, [v128, v128, v128], v128],
  ['v128.anyTrue', simd + 83, [v128], i32],
  ['f32x4.demoteF64x2Zero', simd + 94, [v128], v128],
  ['f64x2.promoteLowF32x4', simd + 95, [v128], v128],
  ...sequence('i8x16', simd + 96, 'abs neg popcnt', [v128], v128),
  ...sequence('i8x16', simd + 99, 'allTrue bitmask', [v128], i32),
  ...sequence('i8x16', simd + 101, 'narrowI16x8S narrowI16x8U', [v128, v128], v128),
  ...sequence('f32x4', simd + 103, 'ceil floor trunc nearest', [v128], v128),
  ...sequence('i8x16', simd + 107, 'shl shrS shrU', [v128, i32], v128),
  ...sequence('i8x16', simd + 110, 'add addSatS addSatU sub subSatS subSatU', [v128, v128], v128),
  ...sequence('i8x16', simd + 118, 'minS minU maxS maxU', [v128, v128], v128),
  ...sequence('f64x2', simd + 116, 'ceil floor', [v128], v128),
  ['f64x2.trunc', simd + 122, [v128], v128],
  ['f64x2.nearest', simd + 148, [v128], v128],
  ['i8x16.avgrU', simd + 123, [v128, v128], v128],
  ...sequence('i16x8', simd + 128, 'abs neg', [v128], v128),
  ['i16x8.q15mulrSatS', simd + 130, [v128, v128], v128],
  ...sequence('i16x8', simd + 131, 'allTrue bitmask', [v128], i32),
  ...sequence('i16x8', simd + 133, 'narrowI32x4S narrowI32x4U', [v128, v128], v128),
  ...sequence(
    'i16x8',
    simd + 135,
    'extendLowI8x16S extendHighI8x16S extendLowI8x16U extendHighI8x16U',
    [v128],
    v128,
  ),
  ...sequence('i16x8', simd + 139, 'shl shrS shrU', [v128, i32], v128),
  ...sequence('i16x8', simd + 142, 'add addSatS addSatU sub subSatS subSatU', [v128, v128], v128),
  ['i16x8.mul', simd + 149, [v128, v128], v128],
  ...sequence('i16x8', simd + 150, 'minS minU maxS maxU', [v128, v128], v128),
  ['i16x8.avgrU', simd + 155, [v128, v128], v128],
  ...sequence(
    'i16x8',
    simd + 156,
    'extmulLowI8x16S extmulHighI8x16S extmulLowI8x16U extmulHighI8x16U',
    [v128, v128],
    v128,
  ),
  ...sequence('i32x4', simd + 160, 'abs neg', [v128], v128),
  ...sequence('i32x4', simd + 163, 'allTrue bitmask', [v128], i32),
  ...sequence(
    'i32x4',
    simd + 167,
    'extendLowI16x8S extendHighI16x8S extendLowI16x8U extendHighI16x8U',
    [v128],
    v128,
  ),
  ...sequence('i32x4', simd + 171, 'shl shrS shrU', [v128, i32], v128),
  ['i32x4.add', simd + 174, [v128, v128], v128],
  ['i32x4.sub', simd + 177, [v128, v128], v128],
  ['i32x4.mul', simd + 181, [v128, v128], v128],
  ...sequence('i32x4', simd + 182, 'minS minU maxS maxU dotI16x8S', [v128, v128], v128),
  ...sequence(
    'i32x4',
    simd + 188,
    'extmulLowI16x8S extmulHighI16x8S extmulLowI16x8U extmulHighI16x8U',
    [v128, v128],
    v128,
  ),
  ...sequence('i64x2', simd + 192, 'abs neg', [v128], v128),
  ...sequence('i64x2', simd + 195, 'allTrue bitmask', [v128], i32),
  ...sequence(
    'i64x2',
    simd + 199,
    'extendLowI32x4S extendHighI32x4S extendLowI32x4U extendHighI32x4U',
    [v128],
    v128,
  ),
  ...sequence('i64x2', simd + 203, 'shl shrS shrU', [v128, i32], v128),
  ['i64x2.add', simd + 206, [v128, v128], v128],
  ['i64x2.sub', simd + 209, [v128, v128], v128],
  ['i64x2.mul', simd + 213, [v128, v128], v128],
  ...sequence('i64x2', simd + 214, 'eq ne ltS gtS leS geS', [v128, v128], v128),
  ...sequence(
    'i64x2',
    simd + 220,
    'extmulLowI32x4S extmulHighI32x4S extmulLowI32x4U extmulHighI32x4U',
    [v128, v128],
    v128,
  ),
  ['f32x4.abs', simd + 224, [v128], v128],
  ['f32x4.neg', simd + 225, [v128], v128],
  ['f32x4.sqrt', simd + 227, [v128], v128],
  ...sequence('f32x4', simd + 228, 'add sub mul div min max pmin pmax', [v128, v128], v128),
  ['f64x2.abs', simd + 236, [v128], v128],
  ['f64x2.neg', simd + 237, [v128], v128],
  ['f64x2.sqrt', simd + 239, [v128], v128],
  ...sequence('f64x2', simd + 240, 'add sub mul div min max pmin pmax', [v128, v128], v128),
  ['i32x4.truncSatF32x4S', simd + 248, [v128], v128],
  ['f32x4.convertI32x4S', simd + 250, [v128], v128],
  ['i32x4.truncSatF64x2SZero', simd + 252, [v128], v128],
  ['f64x2.convertLowI32x4S', simd + 254, [v128], v128],
]

/** Lane operations: sub-opcode of the SIMD prefix, by shape. `u` and `s` differ for 8 and 16 bits only. */
export interface LaneRow {
  readonly extractS: number
  readonly extractU: number
  readonly replace: number
  readonly type: Type
}
/** How a vector is divided. */
export type LaneShape = 'i8x16' | 'i16x8' | 'i32x4' | 'i64x2' | 'f32x4' | 'f64x2'
/** The lane operations of each shape. */
export const Lane: Readonly<Record<LaneShape, LaneRow>> = {
  i8x16: { extractS: 21, extractU: 22, replace: 23, type: i32 },
  i16x8: { extractS: 24, extractU: 25, replace: 26, type: i32 },
  i32x4: { extractS: 27, extractU: 27, replace: 28, type: i32 },
  i64x2: { extractS: 29, extractU: 29, replace: 30, type: i64 },
  f32x4: { extractS: 31, extractU: 31, replace: 32, type: f32 },
  f64x2: { extractS: 33, extractU: 33, replace: 34, type: f64 },
}
