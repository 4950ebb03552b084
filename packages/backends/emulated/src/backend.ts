/** The emulated backend and its VMs. */
import type { Metrics } from '@trapframe/core'
import type { Backend, BackendCapabilities, Vcpu, Vm, VmOptions } from '@trapframe/cpu'
import { MAX_RAM_BYTES } from '@trapframe/memory'
import { createDecoder, type Decoder, type Feature, forms } from '@trapframe/x86'
import { BackendError } from './backend-error.ts'
import { CodeCache } from './code-cache.ts'
import { MAX_VCPUS } from './engine/layout.ts'
import { engineHandlers, engineModule } from './engine-module.ts'
import { EmulatedVcpu } from './vcpu.ts'

const capabilities: BackendCapabilities = {
  name: 'emulated',
  hardwareVirtualization: false,
  instructionCounting: true,
  singleStep: true,
  dirtyLog: true,
  inKernelIrqchip: false,
  ioeventfd: false,
  sharedMemory: true,
  maxRamBytes: MAX_RAM_BYTES,
  maxVcpus: 1,
}

/** Whether and when code is compiled. */
export type JitMode = boolean | 'eager'

/** How guests are executed. */
export interface EmulatedOptions {
  /** Instruction-set extensions to decode; others are #UD. Default: all that are implemented. */
  readonly features?: ReadonlySet<Feature>
  /**
   * Compile hot code to WebAssembly. `eager` compiles everything before its first execution, for tests. Default: false.
   */
  readonly jit?: JitMode
}

/** The emulated x86-64 CPU: a WebAssembly interpreter generated from the instruction rows of @trapframe/x86. */
export function emulated(options: EmulatedOptions = {}): Backend {
  return { capabilities, createVm: (vm) => createVm(vm, options) }
}

/** Of all forms; made once, at the first VM. */
let completeDecoder: Decoder | undefined

async function createVm(options: VmOptions, { features, jit = false }: EmulatedOptions): Promise<Vm> {
  const module = await engineModule(options.memory.shared)
  if (!features) completeDecoder ??= createDecoder(forms)
  const decoder = features ? createDecoder(forms, { features }) : completeDecoder!
  return new EmulatedVm(options, module, decoder, jit)
}

class EmulatedVm implements Vm {
  readonly metrics: Metrics
  readonly #options: VmOptions
  readonly #module: WebAssembly.Module
  readonly #code: CodeCache
  readonly #jit: JitMode
  readonly #decoder: Decoder
  readonly #vcpus = new Map<number, EmulatedVcpu>()
  readonly #unsubscribe: (() => void)[]

  constructor(options: VmOptions, module: WebAssembly.Module, decoder: Decoder, jit: JitMode) {
    this.#jit = jit
    this.#decoder = decoder
    this.#options = options
    this.#module = module
    this.#code = new CodeCache(options.memory, decoder, engineHandlers())
    this.#code.onCodePage = (host) => this.#each((vcpu) => vcpu.dropWriteTags(host))
    this.#code.onDropAll = () => this.#each((vcpu) => vcpu.flushJumps())
    this.#code.onDropPage = () => this.#each((vcpu) => vcpu.attend())
    this.#unsubscribe = [
      options.memory.onCodeWrite((page) => this.#code.dropPage(page)),
      options.memory.onRearm(() => this.#each((vcpu) => vcpu.dropWriteTags(0))),
      options.memory.onRemap(() => this.#each((vcpu) => vcpu.flushTranslations())),
    ]
    const { statistics } = this.#code
    this.metrics = {
      read: () => ({
        'decoded-blocks': statistics.blocks,
        'decoded-instructions': statistics.instructions,
        'dropped-blocks': statistics.droppedBlocks,
        'code-cache-full': statistics.fullDrops,
      }),
    }
  }

  createVcpu(id: number): Vcpu {
    if (this.#vcpus.size >= capabilities.maxVcpus || id < 0 || id >= MAX_VCPUS)
      throw new BackendError(
        'backend-emulated/vcpus',
        `vCPU ${id}: the emulated backend has ${capabilities.maxVcpus} vCPU in a VM`,
      )
    const vcpu = new EmulatedVcpu(id, this.#options, this.#module, this.#code, this.#decoder, this.#jit)
    this.#vcpus.set(id, vcpu)
    return vcpu
  }

  close(): void {
    for (const remove of this.#unsubscribe) remove()
    this.#vcpus.clear()
  }

  #each(action: (vcpu: EmulatedVcpu) => void): void {
    for (const vcpu of this.#vcpus.values()) action(vcpu)
  }
}
