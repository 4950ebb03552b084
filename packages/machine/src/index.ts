/**
 * The composition root: boards, boot loaders, the life cycle of a machine with saved state and virtual time, its control from
 * another thread, and a gdb stub. What executes the guest is handed in; so are clock and event loop.
 *
 * @example
 * A guest that needs no operating system, in virtual time. For Linux see the README and the guide.
 * ```ts
 * import { emulated } from '@trapframe/backend-emulated'
 * import { createMachine, javascriptHost, linux, microvm, textConsole } from '@trapframe/machine'
 * import { assembleElf } from '@trapframe/x86'
 *
 * const guest = assembleElf(`
 * _start: lea   rsi, [rip + text]
 *         mov   ecx, 6
 *         mov   dx, 0x3f8
 *         rep outsb             ; to COM1
 *         mov   al, 21
 *         out   0xf4, al        ; the debug exit port
 * text:   .ascii "hello\\n"`, { origin: 0x100_0000 })
 *
 * const machine = await createMachine({
 *   backend: emulated(),
 *   board: microvm({ memoryBytes: 32 * 2 ** 20 }),
 *   boot: linux({ kernel: guest.bytes }),
 *   host: javascriptHost(),
 *   time: 'virtual',
 * })
 * const terminal = textConsole(machine)
 * machine.start()
 * console.log((await terminal.readUntil('\n')).trim()) // hello
 * console.log(await machine.ended) // { kind: 'debug-exit', value: 21 }
 * machine.close()
 * ```
 *
 * @packageDocumentation
 */
export type { Board, BoardHost, BuiltBoard, Processor } from './board/board.ts'
export { MemoryMap, memoryMap } from './board/memory-map.ts'
export { type DeviceSlots, type MicrovmOptions, microvm } from './board/microvm.ts'
export * from './boot/index.ts'
export {
  type BootPlan,
  type BootSource,
  DEFAULT_COMMAND_LINE,
  type LinuxOptions,
  linux,
} from './boot-source.ts'
export type { BytePort } from './byte-port.ts'
export { connectMachine, type RemoteMachine } from './control/connect-machine.ts'
export type { ControlPort } from './control/control-port.ts'
export type { WireEnd, WireError } from './control/protocol.ts'
export { serveMachine } from './control/serve-machine.ts'
export { createGdbStub, type GdbStop, type GdbStub, type GdbTarget } from './gdb/gdb-stub.ts'
export { formatReport, type GuestEnd, type GuestFault, type GuestReport } from './guest-end.ts'
export type { LifeCycleState } from './life-cycle.ts'
export {
  createMachine,
  type Machine,
  type MachineMetrics,
  type MachineOptions,
  type MachineState,
  type ResetPolicy,
} from './machine.ts'
export type { MachineDebugger } from './machine-debugger.ts'
export { MachineError, type MachineErrorCode } from './machine-error.ts'
export { javascriptHost, type MachineHost } from './machine-host.ts'
export type { RamRun } from './ram-image.ts'
export { type ConsoleOwner, type TextConsole, textConsole } from './text-console.ts'
export type { LastExit } from './vcpu-driver.ts'
