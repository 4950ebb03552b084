/** The generated interpreter as WebAssembly modules, one for unshared and one for shared memory, compiled once per process. */
import { forms } from '@trapframe/x86'
import { BackendError } from './backend-error.ts'
import { formCount, handlersBase64, interpreterBase64, memoryFlagOffset } from './generated/interpreter.ts'

const compiled = new Map<boolean, Promise<WebAssembly.Module>>()

/** The bytes of the module for a memory that is shared or not. */
export function engineBytes(shared: boolean): Uint8Array<ArrayBuffer> {
  const bytes = decodeBase64(interpreterBase64)
  if (shared) bytes[memoryFlagOffset] = 3
  return bytes
}

export function engineModule(shared: boolean): Promise<WebAssembly.Module> {
  const module = compiled.get(shared) ?? WebAssembly.compile(engineBytes(shared))
  compiled.set(shared, module)
  return module
}

/** Handler numbers by form and variant, for the code cache. */
export function engineHandlers(): Uint16Array {
  if (formCount !== forms.length)
    throw new BackendError(
      'backend-emulated/stale',
      `the interpreter was generated for ${formCount} forms, there are ${forms.length}: run the generate step again`,
    )
  const bytes = decodeBase64(handlersBase64)
  return new Uint16Array(bytes.buffer, 0, bytes.length / 2)
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'

/** Base64 without host functions: neither Buffer nor atob is there everywhere. About 3 ms for the interpreter. */
function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  const codes = new Uint8Array(128)
  for (let i = 0; i < alphabet.length; i++) codes[alphabet.charCodeAt(i)] = i
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0
  const bytes = new Uint8Array((text.length / 4) * 3 - padding)
  for (let i = 0, at = 0; i < text.length; i += 4, at += 3) {
    const word =
      (codes[text.charCodeAt(i)]! << 18) |
      (codes[text.charCodeAt(i + 1)]! << 12) |
      (codes[text.charCodeAt(i + 2)]! << 6) |
      codes[text.charCodeAt(i + 3)]!
    bytes[at] = word >> 16
    if (at + 1 < bytes.length) bytes[at + 1] = word >> 8
    if (at + 2 < bytes.length) bytes[at + 2] = word
  }
  return bytes
}
