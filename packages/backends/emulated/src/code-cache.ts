/**
 * Decodes blocks of guest code into records for the interpreter, and forgets them when their page is written.
 *
 * A block is straight-line code inside one page, ended by a transfer of control, the end of the page, or
 * MAX_BLOCK_INSTRUCTIONS; not-taken conditional branches do not end it. An instruction that crosses into the next page
 * is a block of its own behind a guard record, which belongs to both pages.
 *
 * Records are never overwritten while they may be running: dropping a block turns each record into a `resync` record,
 * and when the arena is full everything is dropped and allocation goes on in its other half.
 */

import type { GuestMemory } from '@trapframe/memory'
import { PAGE_FLAGS_OFFSET, PageFlag, RAM_OFFSET } from '@trapframe/memory'
import { Decoded, DecodeFailure, type Decoder, type Form, HIGH_BYTE, State } from '@trapframe/x86'
import { blockTableSlot, legacyTableSlot } from './engine/code-lookup.ts'
import {
  ARENA_END,
  ARENA_OFFSET,
  BLOCK_ROOM,
  BLOCK_TABLE_ENTRIES,
  BLOCK_TABLE_OFFSET,
  Handler,
  LEGACY_TABLE_ENTRIES,
  LEGACY_TABLE_OFFSET,
  LIMITED_END,
  MAX_BLOCK_INSTRUCTIONS,
  RECORD_BYTES,
  RecordField,
} from './engine/layout.ts'
import { segmentSlot } from './interpreter/record-binding.ts'
import { VARIANTS_PER_FORM, Variant } from './interpreter/variants.ts'

type CodeBits = 64 | 32 | 16

interface Block {
  /** Host address of the first instruction. */
  readonly mode: CodeBits
  readonly host: number
  /** Bytes of code. */
  readonly lengthBytes: number
  readonly record: number
  /** Records, the closing chain included. */
  readonly count: number
  /** Pages (by number) that the block has bytes in. */
  readonly pages: readonly number[]
  /** A compiled region: told when it goes. */
  readonly onDrop?: () => void
}

/** What the cache needs to know of each form, taken from its row once. */
const FormKind = {
  plain: 0,
  ends: 1,
  string: 2,
  addressSized: 4,
  absolute: 8,
  branch: 16,
  immediate2: 32,
  conditional: 64,
  leaves: 128,
} as const
/** How a register operand is written into a record. */
const RegisterKind = { none: 0, general: 1, vector: 2, mmx: 3, number: 4 } as const

const MAX_INSTRUCTION_BYTES = 15
const PAGE_BYTES = 4096
const CROSSING_BYTES = 32
const LIMITED_OFFSET = ARENA_OFFSET
const FIRST_HALF = LIMITED_END
/** Key of a block: the host address of its first byte, with the mode above. */
const blockKey = (host: number, mode: CodeBits): number => host + (mode === 64 ? 0 : mode) * 0x1_0000_0000
const HALF_BYTES = ((ARENA_END - FIRST_HALF) / 2) & -RECORD_BYTES

export interface CodeCacheStatistics {
  blocks: number
  instructions: number
  droppedBlocks: number
  fullDrops: number
}

export class CodeCache {
  readonly statistics: CodeCacheStatistics = { blocks: 0, instructions: 0, droppedBlocks: 0, fullDrops: 0 }
  /** Called when a page begins to hold decoded code: write translations of it must go. Argument: host address of the page. */
  onCodePage: (host: number) => void = () => {}
  /** Called when the code of a page was dropped: it may be running. */
  onDropPage: () => void = () => {}
  /** Called when everything was dropped: jump caches must forget. */
  onDropAll: () => void = () => {}

  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #u32: Uint32Array
  readonly #u16: Uint16Array
  readonly #decoder: Decoder
  readonly #decoded = new Decoded()
  readonly #handlers: Uint16Array
  readonly #formKinds: Uint8Array
  /** 1 for handlers of direct branches. */
  readonly #branchHandlers = new Uint8Array(0x1_0000)
  readonly #registerKinds: Uint8Array
  readonly #blocks = new Map<number, Block>()
  readonly #pageBlocks = new Map<number, Block[]>()
  readonly #crossing = new Uint8Array(CROSSING_BYTES)
  /** Host addresses where a block must stop before the instruction, for a debugger. */
  #breakpoints = new Set<bigint>()
  readonly #limited: ({ host: number; limit: number; block: Block } | undefined)[] = []
  #next: number = FIRST_HALF
  #end: number = FIRST_HALF + HALF_BYTES

  constructor(memory: GuestMemory, decoder: Decoder, handlers: Uint16Array) {
    const { buffer } = memory.memory
    this.#bytes = new Uint8Array(buffer)
    this.#view = new DataView(buffer)
    this.#u32 = new Uint32Array(buffer)
    this.#u16 = new Uint16Array(buffer)
    this.#decoder = decoder
    this.#handlers = handlers
    this.#formKinds = Uint8Array.from(decoder.forms, formKind)
    decoder.forms.forEach((_, index) => {
      if ((this.#formKinds[index]! & FormKind.branch) === 0) return
      for (let key = 0; key < VARIANTS_PER_FORM; key++)
        this.#branchHandlers[handlers[index * VARIANTS_PER_FORM + key]!] = 1
    })
    this.#registerKinds = new Uint8Array(decoder.forms.length * 4)
    decoder.forms.forEach((form, index) =>
      form.operands.forEach(
        (kind, operand) => (this.#registerKinds[index * 4 + operand] = registerKind(kind)),
      ),
    )
  }

  /**
   * First record for the code at `host`, decoding it if need be; 0 if the instruction goes on in the next page and
   * `nextHost` (its host address) is 0.
   * @param limit - decode at most so many instructions, into the vCPU's own place, good until its next one; 0: no limit
   * @param vcpu - number of the vCPU that asks
   * @param linearPage - linear address of the page, for breakpoints
   * @param mode - kind of code
   */
  decode(
    host: number,
    nextHost: number,
    limit: number,
    linearPage: bigint,
    vcpu: number,
    mode: CodeBits = 64,
  ): number {
    if (limit === 0) {
      const known = this.#blocks.get(blockKey(host, mode))
      if (known) {
        this.#publish(known)
        return known.record
      }
    }
    if (limit > 0) {
      const last = this.#limited[vcpu]
      if (
        last &&
        last.host === host &&
        last.limit === limit &&
        last.block.mode === mode &&
        last.block.pages.length === 1
      )
        return last.block.record
    } else if (this.#next + BLOCK_ROOM > this.#end) this.dropAll()
    const first = limit > 0 ? LIMITED_OFFSET + vcpu * BLOCK_ROOM : this.#next
    const maximum = limit === 0 ? MAX_BLOCK_INSTRUCTIONS : limit
    const page = host & -PAGE_BYTES
    const pages = [(host - RAM_OFFSET) >>> 12]
    let record = first
    let position = host
    let count = 0
    const decoded = this.#decoded
    let open = true
    while (count < maximum) {
      const offset = position - page
      if (offset >= PAGE_BYTES) break
      if (this.#breakpoints.size > 0 && limit !== 1 && this.#breakpoints.has(linearPage + BigInt(offset))) {
        this.#special(record, Handler.breakpoint, offset, count + 1)
        record += RECORD_BYTES
        open = false
        break
      }
      const available = PAGE_BYTES - offset
      let length = this.#decoder.decode(this.#bytes, position, available, mode, decoded)
      if (length === DecodeFailure.incomplete || (length > 0 && length > available)) {
        // Crosses the page: alone in its block, behind a guard.
        if (count > 0) break
        if (nextHost === 0) return 0
        this.#crossing.set(this.#bytes.subarray(position, position + available))
        this.#crossing.set(this.#bytes.subarray(nextHost, nextHost + CROSSING_BYTES - available), available)
        length = this.#decoder.decode(this.#crossing, 0, MAX_INSTRUCTION_BYTES + 1, mode, decoded)
        pages.push((nextHost - RAM_OFFSET) >>> 12)
        this.#special(record, Handler.guard, offset, 1)
        this.#view.setUint32(record + RecordField.displacement, nextHost, true)
        record += RECORD_BYTES
      }
      if (length <= 0) {
        this.#special(
          record,
          length === DecodeFailure.tooLong ? Handler.tooLong : Handler.undefined,
          offset,
          count + 1,
        )
        record += RECORD_BYTES
        count++
        open = false
        break
      }
      const kind = this.#formKinds[decoded.form]!
      // A repeated string instruction counts its iterations against the budget itself: nothing uncharged before it.
      if ((kind & FormKind.string) !== 0 && decoded.repeat !== 0 && count > 0) break
      count++
      if (mode === 64) this.#fill(record, offset, length, count, kind)
      else this.#fillLegacy(record, offset, length, count, kind)
      record += RECORD_BYTES
      position += length
      open = (kind & FormKind.leaves) === 0
      // A conditional branch that is not taken goes on behind it; a repeated string instruction may have used the budget up.
      if (
        pages.length > 1 ||
        decoded.repeat !== 0 ||
        ((kind & FormKind.ends) !== 0 && (kind & FormKind.conditional) === 0)
      )
        break
    }
    if (open || limit !== 0) {
      this.#special(record, limit === 0 ? Handler.chain : Handler.stop, position - page, count)
      this.#view.setBigInt64(record + RecordField.immediate, BigInt(position - page), true)
      record += RECORD_BYTES
    }
    const block: Block = {
      host,
      mode,
      lengthBytes: position - host,
      record: first,
      count: (record - first) / RECORD_BYTES,
      pages,
    }
    if (limit > 0) {
      this.#limited[vcpu] = { host, limit, block }
      for (const touched of pages) this.#mark(touched)
      return first
    }
    this.#next = record
    this.#register(block)
    this.statistics.blocks++
    this.statistics.instructions += count
    return first
  }

  /** Start of the decoded block that the code at a host address belongs to, the nearest one before it, unless that has a region. */
  blockAt(host: number): number | undefined {
    let start = -1
    for (const block of this.#pageBlocks.get((host - RAM_OFFSET) >>> 12) ?? [])
      if (
        block.mode === 64 &&
        block.host <= host &&
        host < block.host + block.lengthBytes &&
        block.host > start
      )
        start = block.host
    return start < 0 || this.hasRegion(start) ? undefined : start
  }

  /** Whether the 64-bit code at a host address is compiled. */
  hasRegion(host: number): boolean {
    return this.#blocks.get(blockKey(host, 64))?.onDrop !== undefined
  }

  /** First record of the kept block of 64-bit code at a host address. */
  recordOf(host: number): number | undefined {
    return this.#blocks.get(blockKey(host, 64))?.record
  }

  /**
   * Puts a compiled region in front of the block at `host`.
   * @param place - of its function in the engine's table
   * @param budget - instructions that it needs
   * @param onDrop - called when the page's code is dropped
   */
  installRegion(host: number, place: number, budget: number, onDrop: () => void): void {
    const block = this.#blocks.get(blockKey(host, 64))
    if (!block || this.#next + RECORD_BYTES > this.#end) {
      onDrop()
      return
    }
    const record = this.#next
    this.#next += RECORD_BYTES
    this.#special(record, Handler.region, host & (PAGE_BYTES - 1), 1)
    this.#u32[(record + RecordField.displacement) >> 2] = place
    this.#u32[(record + RecordField.link) >> 2] = block.record
    this.#u32[(record + RecordField.immediate) >> 2] = budget
    this.#register({ host, mode: 64, lengthBytes: 0, record, count: 1, pages: block.pages, onDrop })
    // Links of this page's branches to the block now lead to the region; jump caches forget.
    for (const other of this.#pageBlocks.get(block.pages[0]!) ?? []) {
      for (let i = 0, at = other.record; i < other.count; i++, at += RECORD_BYTES)
        if (at !== record && this.#isLink(at) && this.#u32[(at + RecordField.link) >> 2] === block.record)
          this.#u32[(at + RecordField.link) >> 2] = record
    }
    this.onDropAll()
  }

  /** Whether a record is a branch, whose link may be followed. */
  #isLink(record: number): boolean {
    const handler = this.#u16[record >> 1]!
    return handler === Handler.chain || this.#branchHandlers[handler] === 1
  }

  /** Forgets every block with bytes in a page. */
  dropPage(pageIndex: number): void {
    const blocks = this.#pageBlocks.get(pageIndex)
    this.#bytes[PAGE_FLAGS_OFFSET + pageIndex]! &= ~PageFlag.code
    this.#limited.forEach((limited, vcpu) => {
      if (!limited?.block.pages.includes(pageIndex)) return
      this.#retire(limited.block)
      this.#limited[vcpu] = undefined
    })
    if (!blocks) return
    this.#pageBlocks.delete(pageIndex)
    this.onDropPage()
    for (const block of blocks) this.#retire(block)
  }

  /** Forgets the block that begins with a record. */
  dropBlock(record: number): void {
    for (const page of this.#pageBlocks.values()) {
      const at = page.findIndex((block) => block.record === record)
      if (at >= 0) this.#retire(page.splice(at, 1)[0]!)
    }
  }

  /** Forgets everything; running records stay in place until the other half is full, too. */
  dropAll(): void {
    this.statistics.fullDrops++
    for (const [page, blocks] of this.#pageBlocks) {
      this.#bytes[PAGE_FLAGS_OFFSET + page]! &= ~PageFlag.code
      for (const block of blocks) this.#retire(block)
    }
    this.#pageBlocks.clear()
    this.#blocks.clear()
    this.#limited.length = 0
    this.#u32.fill(0, BLOCK_TABLE_OFFSET >> 2, (BLOCK_TABLE_OFFSET >> 2) + BLOCK_TABLE_ENTRIES * 2)
    this.#u32.fill(0, LEGACY_TABLE_OFFSET >> 2, (LEGACY_TABLE_OFFSET >> 2) + LEGACY_TABLE_ENTRIES * 4)
    const inFirst = this.#end === FIRST_HALF + HALF_BYTES
    this.#next = inFirst ? FIRST_HALF + HALF_BYTES : FIRST_HALF
    this.#end = this.#next + HALF_BYTES
    this.onDropAll()
  }

  get hasBreakpoints(): boolean {
    return this.#breakpoints.size > 0
  }

  setBreakpoints(addresses: readonly bigint[]): void {
    this.#breakpoints = new Set(addresses.map((address) => BigInt.asUintN(64, address)))
    this.dropAll()
  }

  #register(block: Block): void {
    this.#blocks.set(blockKey(block.host, block.mode), block)
    this.#publish(block)
    for (const page of block.pages) {
      const blocks = this.#pageBlocks.get(page)
      if (blocks) blocks.push(block)
      else this.#pageBlocks.set(page, [block])
      this.#mark(page)
    }
  }

  /** The page holds decoded code from now on: writes to it must be noticed. */
  #mark(page: number): void {
    if ((this.#bytes[PAGE_FLAGS_OFFSET + page]! & PageFlag.code) !== 0) return
    this.#bytes[PAGE_FLAGS_OFFSET + page]! |= PageFlag.code
    this.onCodePage(RAM_OFFSET + page * PAGE_BYTES)
  }

  #publish({ host, mode, record }: Block): void {
    if (mode === 64) {
      const slot = blockTableSlot(host) >> 2
      this.#u32[slot] = host
      this.#u32[slot + 1] = record
      return
    }
    const slot = legacyTableSlot(host) >> 2
    this.#u32[slot] = host
    this.#u32[slot + 1] = mode
    this.#u32[slot + 2] = record
  }

  #retire(block: Block): void {
    this.statistics.droppedBlocks++
    block.onDrop?.()
    const key = blockKey(block.host, block.mode)
    if (this.#blocks.get(key) === block) this.#blocks.delete(key)
    const long = block.mode === 64
    const slot = (long ? blockTableSlot(block.host) : legacyTableSlot(block.host)) >> 2
    if (this.#u32[slot] === block.host && this.#u32[slot + (long ? 1 : 2)] === block.record)
      this.#u32[slot] = 0
    for (let i = 0, record = block.record; i < block.count; i++, record += RECORD_BYTES) {
      const handler = this.#u16[record >> 1]
      if (handler === Handler.resync) continue
      // `resync` charges one less than its count, for the instruction that it stands for; these stand for none.
      if (handler === Handler.chain || handler === Handler.stop) this.#bytes[record + RecordField.count]!++
      this.#u16[record >> 1] = Handler.resync
    }
  }

  #special(record: number, handler: number, start: number, count: number): void {
    this.#bytes.fill(0, record, record + RECORD_BYTES)
    this.#u16[record >> 1] = handler
    this.#u16[(record + RecordField.start) >> 1] = start
    this.#bytes[record + RecordField.count] = count
  }

  #fill(record: number, start: number, length: number, count: number, kind: number): void {
    const d = this.#decoded
    const u16 = this.#u16
    const u32 = this.#u32
    const bytes = this.#bytes
    const half = record >> 1
    const word = record >> 2
    u16[half + 1] = start
    bytes[record + RecordField.length] = length
    bytes[record + RecordField.count] = count
    const kinds = d.form * 4
    u16[half + 3] = registerSlot(this.#registerKinds[kinds]!, d.registers[0]!)
    u16[half + 4] = registerSlot(this.#registerKinds[kinds + 1]!, d.registers[1]!)
    u32[word + 5] = registerSlot(this.#registerKinds[kinds + 2]!, d.registers[2]!)

    let key: number = Variant.register
    let segment = State.zero as number
    if ((kind & FormKind.string) !== 0) {
      key = Variant.string + d.repeat * 2 + (d.addressBits === 32 ? 1 : 0)
      segment = segmentSlot(d.segmentOverride >= 0 ? d.segmentOverride : 3)
    } else if (d.memory !== 0 || (kind & FormKind.absolute) !== 0) {
      segment = segmentSlot(d.segment)
      const short = d.addressBits === 32
      if (d.lock) key = Variant.locked
      else if (short) key = Variant.memory
      else if (d.index < 0 && segment === State.zero) key = Variant.memoryBase
      else key = Variant.memoryIndex
      bytes[record + RecordField.scale] = d.scale | (short ? 0x80 : 0)
      u16[half + 6] = d.index < 0 ? State.zero : State.gpr + 8 * d.index
      if (d.ripRelative !== 0) {
        u16[half + 5] = State.ripPage
        u32[word + 4] = d.displacement + start + length
      } else {
        u16[half + 5] = d.base < 0 ? State.zero : State.gpr + 8 * d.base
        u32[word + 4] = d.displacement
      }
    } else if ((kind & FormKind.addressSized) !== 0) {
      segment = segmentSlot(d.segmentOverride >= 0 ? d.segmentOverride : 3)
      if (d.addressBits === 32) key = Variant.address32
    }
    bytes[record + RecordField.segment] = segment >> 3

    if ((kind & FormKind.branch) !== 0) {
      const target = start + length + d.relative
      u32[word + 5] = 0
      u32[word + 6] = target
      u32[word + 7] = target >> 31
    } else if ((kind & FormKind.absolute) !== 0) {
      u32[word + 6] = d.displacement
      u32[word + 7] = d.displacementHigh
    } else {
      u32[word + 6] = d.immediateLow
      u32[word + 7] = d.immediateHigh
      if ((kind & FormKind.immediate2) !== 0) u32[word + 5] = d.immediate2
    }

    let handler = this.#handlers[d.form * VARIANTS_PER_FORM + key]!
    if (handler === 0 && (key === Variant.memoryBase || key === Variant.memoryIndex))
      handler = this.#handlers[d.form * VARIANTS_PER_FORM + Variant.memory]!
    u16[half] = handler === 0 ? Handler.undefined : handler
  }

  /** As `#fill` for code of 32 and 16 bits: segments by number, addresses of 32 or 16 bits. */
  #fillLegacy(record: number, start: number, length: number, count: number, kind: number): void {
    const d = this.#decoded
    const u16 = this.#u16
    const u32 = this.#u32
    const half = record >> 1
    const word = record >> 2
    u16[half + 1] = start
    this.#bytes[record + RecordField.length] = length
    this.#bytes[record + RecordField.count] = count
    const kinds = d.form * 4
    u16[half + 3] = registerSlot(this.#registerKinds[kinds]!, d.registers[0]!)
    u16[half + 4] = registerSlot(this.#registerKinds[kinds + 1]!, d.registers[1]!)
    u32[word + 5] = registerSlot(this.#registerKinds[kinds + 2]!, d.registers[2]!)
    const short = d.addressBits === 16 ? 1 : 0
    let key: number = Variant.legacyRegister
    let segment = d.segmentOverride >= 0 ? d.segmentOverride : 3
    if ((kind & FormKind.string) !== 0) key = Variant.legacyString + d.repeat * 2 + short
    else if (d.memory !== 0 || (kind & FormKind.absolute) !== 0) {
      segment = d.segment
      key = (d.lock ? Variant.legacyLocked : Variant.legacyMemory) + short
      this.#bytes[record + RecordField.scale] = d.scale
      u16[half + 5] = d.base < 0 ? State.zero : State.gpr + 8 * d.base
      u16[half + 6] = d.index < 0 ? State.zero : State.gpr + 8 * d.index
      u32[word + 4] = d.displacement
    } else if ((kind & FormKind.addressSized) !== 0) key += short
    this.#bytes[record + RecordField.segment] = segment
    if ((kind & FormKind.branch) !== 0) {
      const target = start + length + d.relative
      u32[word + 5] = 0
      u32[word + 6] = target
      u32[word + 7] = target >> 31
    } else if ((kind & FormKind.absolute) !== 0) {
      u32[word + 6] = d.displacement
      u32[word + 7] = 0
    } else {
      u32[word + 6] = d.immediateLow
      u32[word + 7] = d.immediateHigh
      if ((kind & FormKind.immediate2) !== 0) u32[word + 5] = d.immediate2
    }
    const handler = this.#handlers[d.form * VARIANTS_PER_FORM + key]!
    u16[half] = handler === 0 ? Handler.undefined : handler
  }
}

function formKind(form: Form): number {
  const { options, operands } = form
  let kind: number = FormKind.plain
  if (options.ends) kind |= FormKind.ends
  if (options.string) kind |= FormKind.string
  if (options.addressSized) kind |= FormKind.addressSized
  if (operands.some((operand) => operand.startsWith('moffs'))) kind |= FormKind.absolute
  // Never falls through to the next instruction.
  if (/^(JMP|CALL|RET)$/.test(form.mnemonic)) kind |= FormKind.leaves
  if (operands.some((operand) => operand.startsWith('rel')))
    kind |= FormKind.branch | ((kind & FormKind.leaves) === 0 ? FormKind.conditional : 0)
  if (operands.filter((operand) => operand.startsWith('imm')).length > 1 || operands[0]?.startsWith('ptr'))
    kind |= FormKind.immediate2
  return kind
}

function registerKind(kind: string): number {
  if (/^(imm|rel|m|1$|3$|ptr)/.test(kind) && !kind.startsWith('mm')) return RegisterKind.none
  if (kind.startsWith('xmm') || kind.startsWith('ymm')) return RegisterKind.vector
  if (kind.startsWith('mm')) return RegisterKind.mmx
  if (/^(Sreg|CR|DR|ST|CS|DS|ES|SS|FS|GS)/.test(kind)) return RegisterKind.number
  return RegisterKind.general
}

function registerSlot(kind: number, register: number): number {
  if (register < 0) return State.zero
  switch (kind) {
    case RegisterKind.general:
      return register >= HIGH_BYTE ? State.gpr + 8 * (register - HIGH_BYTE) + 1 : State.gpr + 8 * register
    case RegisterKind.vector:
      return State.ymm + 32 * register
    case RegisterKind.mmx:
      return State.x87 + 16 * register
    case RegisterKind.number:
      return register
    default:
      return State.zero
  }
}
