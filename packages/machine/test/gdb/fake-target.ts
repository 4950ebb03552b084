/** A guest of one page and a RIP that counts, for tests of the stub. */
import type { VcpuState } from '@trapframe/cpu'
import type { GdbStop, GdbTarget } from '../../src/gdb/gdb-stub.ts'
import { sampleState } from '../sample-state.ts'

export class FakeTarget implements GdbTarget {
  running = false
  state: VcpuState = sampleState()
  breakpoints: readonly bigint[] = []
  killed = false
  interrupts = 0
  readonly memory: Uint8Array = new Uint8Array(4096).map((_, n) => n & 0xff)
  readonly base = 0x1000n

  resume(): void {
    this.running = true
  }
  step(): GdbStop {
    this.state = { ...this.state, rip: this.state.rip + 1n }
    return { kind: 'step' }
  }
  interrupt(): void {
    this.interrupts++
  }
  readRegisters(): VcpuState {
    return this.state
  }
  writeRegisters(state: VcpuState): void {
    this.state = state
  }
  readMemory(linear: bigint, length: number): Uint8Array {
    const at = Number(linear - this.base)
    return at < 0 || at >= 4096 ? new Uint8Array(0) : this.memory.slice(at, at + length)
  }
  writeMemory(linear: bigint, bytes: Uint8Array): boolean {
    const at = Number(linear - this.base)
    if (at < 0 || at + bytes.length > 4096) return false
    this.memory.set(bytes, at)
    return true
  }
  setBreakpoints(addresses: readonly bigint[]): void {
    this.breakpoints = addresses
  }
  kill(): void {
    this.killed = true
  }
}
