// The only ambient declarations of host-free packages: WebAssembly (JavaScript API 2.0 with the threads extension)
// and the few globals that every host has. Deliberately absent: clocks, timers, randomness, console, process;
// those are handed in (@trapframe/core).

declare namespace WebAssembly {
  type ValueType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128' | 'funcref' | 'externref'
  type TableKind = 'anyfunc' | 'externref'
  type ImportExportKind = 'function' | 'table' | 'memory' | 'global' | 'tag'

  interface ModuleExportDescriptor {
    name: string
    kind: ImportExportKind
  }
  interface ModuleImportDescriptor {
    module: string
    name: string
    kind: ImportExportKind
  }

  // Exported functions are called with the types that the caller knows; bigint stands for i64.
  // biome-ignore lint/suspicious/noExplicitAny: the signature belongs to the module, not to the type
  type ExportValue = ((...args: any[]) => any) | Global | Memory | Table
  type Exports = Record<string, ExportValue>
  // biome-ignore lint/suspicious/noExplicitAny: as above
  type ImportValue = ((...args: any[]) => any) | Global | Memory | Table | number | bigint
  type ModuleImports = Record<string, ImportValue>
  type Imports = Record<string, ModuleImports>

  class Module {
    constructor(bytes: ArrayBufferView<ArrayBufferLike> | ArrayBuffer)
    static exports(module: Module): ModuleExportDescriptor[]
    static imports(module: Module): ModuleImportDescriptor[]
    static customSections(module: Module, sectionName: string): ArrayBuffer[]
  }

  class Instance {
    constructor(module: Module, imports?: Imports)
    readonly exports: Exports
  }

  interface MemoryDescriptor {
    /** In pages of 64 KiB. */
    initial: number
    maximum?: number
    shared?: boolean
  }
  class Memory {
    constructor(descriptor: MemoryDescriptor)
    readonly buffer: ArrayBuffer | SharedArrayBuffer
    /** Answers the old size in pages. */
    grow(deltaPages: number): number
  }

  interface TableDescriptor {
    element: TableKind
    initial: number
    maximum?: number
  }
  class Table {
    constructor(descriptor: TableDescriptor, value?: unknown)
    readonly length: number
    // biome-ignore lint/suspicious/noExplicitAny: functions and external references alike
    get(index: number): any
    set(index: number, value?: unknown): void
    grow(delta: number, value?: unknown): number
  }

  interface GlobalDescriptor {
    value: ValueType
    mutable?: boolean
  }
  class Global {
    constructor(descriptor: GlobalDescriptor, value?: unknown)
    // biome-ignore lint/suspicious/noExplicitAny: a number or a bigint, by the descriptor
    value: any
    // biome-ignore lint/suspicious/noExplicitAny: as above
    valueOf(): any
  }

  class CompileError extends Error {}
  class LinkError extends Error {}
  class RuntimeError extends Error {}

  interface InstantiatedSource {
    module: Module
    instance: Instance
  }
  function validate(bytes: ArrayBufferView<ArrayBufferLike> | ArrayBuffer): boolean
  function compile(bytes: ArrayBufferView<ArrayBufferLike> | ArrayBuffer): Promise<Module>
  function instantiate(module: Module, imports?: Imports): Promise<Instance>
  function instantiate(
    bytes: ArrayBufferView<ArrayBufferLike> | ArrayBuffer,
    imports?: Imports,
  ): Promise<InstantiatedSource>
}

interface TextEncoder {
  encode(text?: string): Uint8Array<ArrayBuffer>
  encodeInto(text: string, target: Uint8Array): { read: number; written: number }
}
declare var TextEncoder: { new (): TextEncoder }

interface TextDecoder {
  decode(bytes?: ArrayBufferView<ArrayBufferLike> | ArrayBufferLike, options?: { stream?: boolean }): string
}
declare var TextDecoder: {
  new (label?: string, options?: { fatal?: boolean; ignoreBOM?: boolean }): TextDecoder
}

declare function structuredClone<T>(value: T): T
declare function queueMicrotask(callback: () => void): void
