/**
 * A machine as a debugger sees it: registers, memory by linear address, breakpoints, steps. Fits the gdb stub.
 */
import type { VcpuState } from '@trapframe/cpu'
import type { GdbStop, GdbTarget } from './gdb/gdb-stub.ts'
import type { Machine } from './machine.ts'
import { SliceEnd } from './vcpu-driver.ts'

export interface MachineDebugger extends GdbTarget {
  /** Why the machine rests. Set by the machine. */
  stopReason: 'pause' | 'breakpoint'
  /** Calls `listener` whenever the machine comes to rest or ends. Answers the removal. */
  onStop(listener: (stop: GdbStop) => void): () => void
}

export interface MachineDebuggerParts {
  readonly machine: Machine
  step(): SliceEnd
  /** The vCPU's state was changed. */
  attend(): void
}

const PAGE = 4096

export function createMachineDebugger(parts: MachineDebuggerParts): MachineDebugger {
  const { machine } = parts
  const vcpu = machine.vcpus[0]!
  const { memory } = machine

  /** Calls `visit` for each piece of a linear range that lies in one page of RAM; false where there is none. */
  function forEachPiece(
    linear: bigint,
    length: number,
    visit: (guestPhysical: number, at: number, length: number) => void,
  ): boolean {
    for (let at = 0; at < length; ) {
      const address = BigInt.asUintN(64, linear + BigInt(at))
      const piece = Math.min(PAGE - Number(address & 0xfffn), length - at)
      const gpa = vcpu.debug.translate(address)
      if (gpa === undefined || !memory.isRam(gpa, piece)) return false
      visit(gpa, at, piece)
      at += piece
    }
    return true
  }

  function stopNow(): GdbStop {
    const { end } = machine
    if (end === undefined)
      return { kind: debuggerOf.stopReason === 'breakpoint' ? 'breakpoint' : 'interrupt' }
    // A guest that failed can still be looked at; one that ended well is gone.
    if ('report' in end) return { kind: 'fault' }
    return { kind: 'exited', status: end.kind === 'debug-exit' ? end.value : end.kind === 'failed' ? 255 : 0 }
  }

  const debuggerOf: MachineDebugger = {
    stopReason: 'pause',
    get running() {
      return machine.state === 'running' || machine.state === 'pausing'
    },
    resume() {
      if (machine.state === 'created' || machine.state === 'paused') machine.start()
    },
    interrupt() {
      if (machine.state === 'running') void machine.pause()
    },
    step() {
      if (machine.end !== undefined) return stopNow()
      const end = parts.step()
      if (machine.end !== undefined) return stopNow()
      return { kind: end === SliceEnd.breakpoint ? 'breakpoint' : 'step' }
    },
    kill: () => machine.stop(),
    readRegisters: () => vcpu.save(),
    writeRegisters(state: VcpuState) {
      vcpu.load(state)
      parts.attend()
    },
    readMemory(linear, length) {
      const bytes = new Uint8Array(length)
      let known = 0
      forEachPiece(linear, length, (gpa, at, piece) => {
        bytes.set(memory.read(gpa, piece), at)
        known = at + piece
      })
      return bytes.subarray(0, known)
    },
    writeMemory(linear, bytes) {
      const writable = forEachPiece(linear, bytes.length, () => {})
      if (!writable) return false
      forEachPiece(linear, bytes.length, (gpa, at, piece) => {
        memory.write(gpa, bytes.subarray(at, at + piece))
      })
      return true
    },
    setBreakpoints: (addresses) => vcpu.debug.setBreakpoints(addresses),
    onStop: (listener) =>
      machine.onStateChange((state) => {
        if (state === 'paused' || state === 'stopped' || state === 'failed') listener(stopNow())
      }),
  }
  return debuggerOf
}
