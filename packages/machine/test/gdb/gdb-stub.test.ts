import { describe, expect, test } from 'vitest'
import { createGdbStub, type GdbStub } from '../../src/gdb/gdb-stub.ts'
import { encodePacket, fromHex, MAX_PACKET_BYTES, PacketReader, toHex } from '../../src/gdb/packet.ts'
import { REGISTERS } from '../../src/gdb/registers.ts'
import { FakeTarget } from './fake-target.ts'

const encode = (text: string): Uint8Array => new TextEncoder().encode(text)
const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

/** A debugger's side: sends a packet, answers what came back without acknowledgements. */
function session(): { target: FakeTarget; stub: GdbStub; ask: (text: string) => string; sent: () => string } {
  const target = new FakeTarget()
  let out = ''
  const stub = createGdbStub(target, (bytes) => {
    out += decode(bytes)
  })
  const sent = (): string => {
    const text = out
    out = ''
    return text
  }
  const ask = (text: string): string => {
    stub.receive(encodePacket(encode(text)))
    const match = /^\+?(?:\$([\s\S]*)#[0-9a-f]{2})?$/.exec(sent())
    return match?.[1] ?? ''
  }
  return { target, stub, ask, sent }
}

describe('packets', () => {
  test('default: framing, checksum, escapes, in any chunks', () => {
    const seen: string[] = []
    const reader = new PacketReader({
      packet: (data) => seen.push(decode(data)),
      interrupt: () => seen.push('interrupt'),
      damaged: () => seen.push('damaged'),
      resend: () => seen.push('resend'),
    })
    const stream = [
      ...encodePacket(encode('g}#$*')),
      0x03,
      0x2b,
      0x2d,
      ...encode('$g#00'),
      ...encode('$m1$g#67'),
    ]
    for (const byte of stream) reader.receive(Uint8Array.of(byte))
    expect(seen).toEqual(['g}#$*', 'interrupt', 'resend', 'damaged', 'g'])
    expect(decode(encodePacket(encode('OK')))).toBe('$OK#9a')
  })

  test('error: a packet that is too long is refused, and the next one taken', () => {
    const seen: string[] = []
    const reader = new PacketReader({
      packet: (data) => seen.push(decode(data)),
      interrupt() {},
      damaged: () => seen.push('damaged'),
      resend() {},
    })
    reader.receive(encodePacket(new Uint8Array(MAX_PACKET_BYTES + 1).fill(0x61)))
    reader.receive(encodePacket(encode('?')))
    expect(seen).toEqual(['damaged', '?'])
  })

  test('default: hexadecimal', () => {
    expect(toHex(Uint8Array.of(0, 0xab))).toBe('00ab')
    expect(fromHex('00AB')).toEqual(Uint8Array.of(0, 0xab))
    expect(fromHex('0')).toBeUndefined()
    expect(fromHex('zz')).toBeUndefined()
  })
})

describe('stub', () => {
  test('default: acknowledges until told not to, and answers a stop reason', () => {
    const { stub, sent } = session()
    stub.receive(encode('$?#3f'))
    expect(sent()).toBe('+$T02thread:1;#d4')
    stub.receive(encodePacket(encode('QStartNoAckMode')))
    expect(sent()).toBe('+$OK#9a')
    stub.receive(encode('$?#3f'))
    expect(sent()).toBe('$T02thread:1;#d4')
  })

  test('behaviour: the description has every register once, in the order of their numbers', () => {
    const { ask } = session()
    let xml = ''
    for (let offset = 0; ; ) {
      const part = ask(`qXfer:features:read:target.xml:${offset.toString(16)},400`)
      xml += part.slice(1)
      offset += part.length - 1
      if (part[0] === 'l') break
      expect(part[0]).toBe('m')
    }
    expect([...xml.matchAll(/<reg name="(\w+)"/g)].map((match) => match[1])).toEqual(
      REGISTERS.map((register) => register.name),
    )
    expect(xml.endsWith('</target>')).toBe(true)
  })

  test('behaviour: registers one by one and all together, with the x87 stack relative to TOP', () => {
    const { target, ask } = session()
    const number = (name: string): string => REGISTERS.findIndex((r) => r.name === name).toString(16)
    expect(ask(`p${number('rbx')}`)).toBe('0300000000001111')
    expect(ask(`P${number('rbx')}=efcdab8967452301`)).toBe('OK')
    expect(target.state.gpr[3]).toBe(0x0123456789abcdefn)
    target.state = { ...target.state, fpu: { ...target.state.fpu, fsw: 6 << 11 } }
    expect(ask(`p${number('st0')}`)).toBe(toHex(target.state.fpu.registers.slice(60, 70)))
    expect(ask(`p${number('st2')}`)).toBe(toHex(target.state.fpu.registers.slice(0, 10)))
    const all = ask('g')
    expect(all.length / 2).toBe(REGISTERS.reduce((bytes, register) => bytes + register.bits / 8, 0))
    expect(ask(`G${all}`)).toBe('OK')
    expect(ask('g')).toBe(all)
    expect(ask('pffff')).toBe('E16')
    expect(ask(`P${number('rbx')}=00`)).toBe('E16')
  })

  test('behaviour: every register that can be written reads back', () => {
    const { ask } = session()
    const fixed = /^(cs|ss|ds|es|fs|gs|fiseg|fioff|foseg|fooff)$/
    const masks: Record<string, bigint> = {
      fctrl: 0xffffn,
      fstat: 0x3ffn,
      ftag: 0xffffn,
      fop: 0x7ffn,
      mxcsr: 0xffffn,
      cr8: 0xfn,
    }
    REGISTERS.forEach((register, number) => {
      if (fixed.test(register.name)) return
      const value =
        0x5a5a_1234_5678_9abc_def3_5a5an &
        ((1n << BigInt(register.bits)) - 1n) &
        (masks[register.name] ?? -1n)
      const bytes = Uint8Array.from({ length: register.bits / 8 }, (_, n) =>
        Number((value >> BigInt(8 * n)) & 0xffn),
      )
      expect(ask(`P${number.toString(16)}=${toHex(bytes)}`), register.name).toBe('OK')
      expect(ask(`p${number.toString(16)}`), register.name).toBe(toHex(bytes))
    })
  })

  test('behaviour: memory, as far as it is there', () => {
    const { target, ask, stub, sent } = session()
    expect(ask('m1010,4')).toBe('10111213')
    expect(ask('m1ffe,10')).toBe('feff')
    expect(ask('m5000,4')).toBe('E0e')
    expect(ask('M1000,2:beef')).toBe('OK')
    expect(ask('m1000,3')).toBe('beef02')
    expect(ask('M1fff,2:0000')).toBe('E0e')
    expect(ask('M1000,3:beef')).toBe('E16')
    stub.receive(encodePacket(Uint8Array.from([...encode('X1000,3:'), 0x7d, 0x24, 0x23])))
    expect(sent()).toContain('$OK#')
    expect([...target.memory.subarray(0, 3)]).toEqual([0x7d, 0x24, 0x23])
  })

  test('behaviour: breakpoints, steps, and going on', () => {
    const { target, ask, stub, sent } = session()
    expect(ask('Z0,1234,1')).toBe('OK')
    expect(ask('Z1,ffffffff81000000,1')).toBe('OK')
    expect(target.breakpoints).toEqual([0x1234n, 0xffffffff81000000n])
    expect(ask('z0,1234,1')).toBe('OK')
    expect(target.breakpoints).toEqual([0xffffffff81000000n])
    expect(ask('Z2,1234,1')).toBe('')
    expect(ask('vCont;s:1')).toBe('T05thread:1;')
    expect(target.state.rip).toBe(0x1001n)
    expect(ask('s2000')).toBe('T05thread:1;')
    expect(target.state.rip).toBe(0x2001n)
    expect(ask('vCont;c')).toBe('')
    expect(target.running).toBe(true)
    stub.receive(Uint8Array.of(3))
    expect(target.interrupts).toBe(1)
    target.running = false
    stub.stopped({ kind: 'breakpoint' })
    expect(sent()).toContain('$T05swbreak:;thread:1;#')
    expect(ask('?')).toBe('T05swbreak:;thread:1;')
    target.running = true
    target.running = false
    stub.stopped({ kind: 'exited', status: 3 })
    expect(sent()).toContain('$W03#')
  })

  test('behaviour: detaching takes the breakpoints away and lets the guest go on', () => {
    const { target, ask } = session()
    ask('Z0,1234,1')
    expect(ask('D')).toBe('OK')
    expect(target.breakpoints).toEqual([])
    expect(target.running).toBe(true)
    const other = session()
    other.ask('Z0,1234,1')
    other.ask('c')
    other.stub.close()
    expect(other.target.breakpoints).toEqual([])
    expect(session().ask('k')).toBe('')
  })

  test('error: nonsense gets an answer that gdb understands, and never throws', () => {
    const { ask } = session()
    for (const text of [
      '',
      'z',
      'm',
      'm1',
      'M',
      'Mx,y:z',
      'p',
      'P',
      'G1',
      'X',
      'qXfer:features:read:target.xml:',
      'Z0',
      'vCont;',
      'vRun',
      '!',
      'R',
      'bogus',
      'm1000,ffffffffffffffffff',
    ])
      expect(['', 'E16', 'E0e', 'E00'], text).toContain(ask(text))
  })

  test('error: a target that refuses a value', () => {
    const { target, ask } = session()
    target.writeRegisters = () => {
      throw new Error('reserved bits')
    }
    expect(ask('P0=0000000000000000')).toBe('E16')
  })
})
