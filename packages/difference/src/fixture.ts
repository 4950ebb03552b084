/**
 * Cases as text: the instructions, what of the start state is not zero, and how it ends on the oracle. A fixture needs
 * no oracle any more, so it holds on every host.
 *
 *     ; shld word ptr [rbx], ax, 17 sets OF                 a comment
 *     code 66 0f a4 03 11                                   ; shld word ptr [rbx], ax, 0x11
 *     undefined flags 0x810
 *     start rip 0x10000100
 *     start rax 0x1234
 *     start memory 0x10002e00 12 34
 *     end vector 3
 *     end rip 0x10000106
 *     end memory 0x10002e00 34 12
 *
 * What `end` does not name is as at the start.
 */
import { TrapframeError } from '@trapframe/core'
import { disassemble } from '@trapframe/x86'
import { memoryOffset } from './address.ts'
import type { Case } from './engine.ts'
import { CODE_BASE, Fxsave, MachineImage, memoryRegions } from './machine-image.ts'

/** A case with its outcome on the oracle. */
export interface Fixture {
  readonly case: Case
  /** How it ends. */
  readonly end: MachineImage
}

interface Field {
  readonly name: string
  readonly plain: bigint
  read(image: MachineImage): bigint
  write(image: MachineImage, value: bigint): void
}

const gprNames = 'rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15'.split(' ')
const word = (name: string, at: number, plain: bigint): Field => ({
  name,
  plain,
  read: (image) => BigInt(image.fxsaveView.getUint16(at, true)),
  write: (image, value) => image.fxsaveView.setUint16(at, Number(value), true),
})
/** Integer fields, `plain` being the value that is not written down. */
const fields: readonly Field[] = [
  {
    name: 'mode',
    plain: 64n,
    read: (image) => BigInt(image.mode),
    write: (image, value) => {
      image.mode = Number(value) as 64
    },
  },
  {
    name: 'rip',
    plain: CODE_BASE,
    read: (image) => image.rip,
    write: (image, value) => {
      image.rip = value
    },
  },
  {
    name: 'rflags',
    plain: 0x202n,
    read: (image) => BigInt(image.rflags),
    write: (image, value) => {
      image.rflags = Number(value)
    },
  },
  ...gprNames.map(
    (name, register): Field => ({
      name,
      plain: 0n,
      read: (image) => image.gpr(register),
      write: (image, value) => image.setGpr(register, value),
    }),
  ),
  word('fcw', Fxsave.fcw, 0x37fn),
  word('fsw', Fxsave.fsw, 0n),
  word('ftw', Fxsave.ftw, 0n),
  {
    name: 'mxcsr',
    plain: 0x1f80n,
    read: (image) => BigInt(image.fxsaveView.getUint32(Fxsave.mxcsr, true)),
    write: (image, value) => image.fxsaveView.setUint32(Fxsave.mxcsr, Number(value), true),
  },
  ...Array.from({ length: 8 }, (_, register): Field => {
    const at = Fxsave.st + 16 * register
    return {
      name: `st${register}`,
      plain: 0n,
      read: (image) =>
        (BigInt(image.fxsaveView.getUint16(at + 8, true)) << 64n) | image.fxsaveView.getBigUint64(at, true),
      write: (image, value) => {
        image.fxsaveView.setBigUint64(at, BigInt.asUintN(64, value), true)
        image.fxsaveView.setUint16(at + 8, Number(value >> 64n), true)
      },
    }
  }),
  ...Array.from({ length: 16 }, (_, register): Field => {
    const at = Fxsave.xmm + 16 * register
    return {
      name: `xmm${register}`,
      plain: 0n,
      read: (image) =>
        (image.fxsaveView.getBigUint64(at + 8, true) << 64n) | image.fxsaveView.getBigUint64(at, true),
      write: (image, value) => {
        image.fxsaveView.setBigUint64(at, BigInt.asUintN(64, value), true)
        image.fxsaveView.setBigUint64(at + 8, value >> 64n, true)
      },
    }
  }),
]
/** How a case ended; in `end` lines only. */
const outcome: readonly Field[] = [
  {
    name: 'vector',
    plain: -100n,
    read: (image) => BigInt(image.vector),
    write: (image, value) => {
      image.vector = Number(value)
    },
  },
  {
    name: 'error-code',
    plain: 0n,
    read: (image) => BigInt(image.errorCode),
    write: (image, value) => {
      image.errorCode = Number(value)
    },
  },
  {
    name: 'cr2',
    plain: 0n,
    read: (image) => image.faultAddress,
    write: (image, value) => {
      image.faultAddress = value
    },
  },
]

const hex = (value: bigint): string => (value < 10n ? `${value}` : `0x${value.toString(16)}`)
const bytesText = (bytes: Uint8Array): string =>
  [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(' ')

/** The text of a fixture is not understood. */
export class FixtureError extends TrapframeError {
  /** @param message - names the line */
  constructor(message: string) {
    super('difference/fixture', message)
  }
}

/** The text of a fixture. @param comment - what it is about */
export function formatFixture({ case: one, end }: Fixture, comment: string): string {
  const { start } = one
  const lines = comment.split('\n').map((line) => `; ${line}`)
  lines.push(`code ${bytesText(start.code)} ; ${disassembleCode(start)}`)
  if (one.undefinedFlags) lines.push(`undefined flags ${hex(BigInt(one.undefinedFlags))}`)
  for (const [address, sizeBytes] of one.ignoredMemory ?? [])
    lines.push(`undefined memory ${hex(address)} ${sizeBytes}`)
  for (const { name, plain, read } of fields)
    if (read(start) !== plain) lines.push(`start ${name} ${hex(read(start))}`)
  lines.push(...memoryLines('start', start, new MachineImage()))
  for (const { name, plain, read } of outcome)
    if (read(end) !== plain) lines.push(`end ${name} ${hex(read(end))}`)
  for (const { name, read } of fields)
    if (read(start) !== read(end)) lines.push(`end ${name} ${hex(read(end))}`)
  lines.push(...memoryLines('end', end, start))
  return `${lines.join('\n')}\n`
}

function disassembleCode(start: MachineImage): string {
  const parts: string[] = []
  for (let at = 0; at < start.code.length; ) {
    const { text, length } = disassemble(start.code.subarray(at), {
      address: start.rip + BigInt(at),
      mode: start.mode,
    })
    parts.push(text.replace(/\s*;.*/, ''))
    at += length
  }
  return parts.join('; ')
}

function memoryLines(when: string, image: MachineImage, base: MachineImage): string[] {
  const lines: string[] = []
  for (const { address, sizeBytes, offset } of memoryRegions)
    for (let at = 0; at < sizeBytes; at += 16) {
      const bytes = image.memory.subarray(offset + at, offset + at + 16)
      if (bytes.some((byte, index) => byte !== base.memory[offset + at + index]))
        lines.push(`${when} memory ${hex(address + BigInt(at))} ${bytesText(bytes)}`)
    }
  return lines
}

/** Reads a fixture. @param name - for messages @throws FixtureError */
export function parseFixture(name: string, text: string): Fixture {
  const start = new MachineImage()
  for (const { plain, write } of fields) write(start, plain)
  let end: MachineImage | undefined
  let undefinedFlags = 0
  const ignoredMemory: [bigint, number][] = []
  text.split('\n').forEach((line, index) => {
    const fail = (problem: string): never => {
      throw new FixtureError(`${name}, line ${index + 1}: ${problem}: ${line}`)
    }
    const words = line.replace(/;.*/, '').trim().split(/\s+/)
    const [what, field, ...rest] = words
    if (what === '') return
    const bytes = (list: readonly string[]): Uint8Array =>
      Uint8Array.from(list, (byte) => Number.parseInt(byte, 16))
    if (what === 'code') start.code = bytes(words.slice(1))
    else if (what === 'undefined' && field === 'flags') undefinedFlags = Number(rest[0])
    else if (what === 'undefined' && field === 'memory')
      ignoredMemory.push([BigInt(rest[0]!), Number(rest[1])])
    else if (what === 'start' || what === 'end') {
      if (what === 'end') end ??= start.clone()
      const image = what === 'end' ? end! : start
      if (field === 'memory') {
        const offset = memoryOffset(BigInt(rest[0]!), rest.length - 1)
        if (offset === undefined) return fail('memory that is not watched')
        image.memory.set(bytes(rest.slice(1)), offset)
      } else {
        const known =
          fields.find((one) => one.name === field) ??
          (what === 'end' ? outcome.find((one) => one.name === field) : undefined)
        if (!known) return fail('no such field')
        known.write(image, BigInt(rest[0]!))
      }
    } else fail('not understood')
  })
  if (!end) throw new FixtureError(`${name} does not say how it ends`)
  const { form, length } = disassemble(start.code, { address: start.rip, mode: start.mode })
  return {
    case: {
      start,
      label: name,
      ...(form && length === start.code.length ? { form } : {}),
      ...(undefinedFlags ? { undefinedFlags } : {}),
      ...(ignoredMemory.length > 0 ? { ignoredMemory } : {}),
    },
    end,
  }
}
