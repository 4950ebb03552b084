/**
 * The handlers that the interpreter has for a form: which of its operands is memory, how the address is made, LOCK,
 * repeat prefix, address size. The decoder's output picks one by its key.
 */
import { encodingOf, type Form } from '@trapframe/x86'

/** Keys of a form's handlers. */
export const Variant = {
  /** No memory operand. */
  register: 0,
  /** [base + displacement], segment base zero. Hot forms only. */
  memoryBase: 1,
  /** [segment + base + index * scale + displacement]. Hot forms only. */
  memoryIndex: 2,
  /** Every address, 32-bit ones too. */
  memory: 3,
  /** As `memory`, with LOCK. */
  locked: 4,
  /** String forms: + 2 * repeat (none, rep, repne) + 1 with 32-bit addresses. */
  string: 5,
  /** Forms with an address-sized register, with 32-bit addresses. */
  address32: 11,
  /** Outside 64-bit mode, with addresses of 32 bits; + 1 with 16. `legacyRegister` has no memory operand. */
  legacyRegister: 16,
  legacyMemory: 18,
  legacyLocked: 20,
  /** + 2 * repeat. */
  legacyString: 22,
} as const
export const VARIANTS_PER_FORM = 32

/** Whether a key is of a handler for 32-bit and 16-bit code. */
export const isLegacy = (key: number): boolean => key >= Variant.legacyRegister

export interface HandlerVariant {
  readonly form: Form
  readonly formIndex: number
  readonly key: number
  /** Compiled into the main function. */
  readonly inline: boolean
}

/** Whether an operand of the form can be memory, and whether it can be a register. */
export function memoryOperand(form: Form): { possible: boolean; always: boolean } {
  const always = form.operands.some((kind) => /^(m(\d|$)|moffs)/.test(kind))
  const possible = always || form.operands.some((kind) => kind.includes('/m') || kind.startsWith('r/m'))
  return { possible, always }
}

/** Handlers of a form for 32-bit and 16-bit code, none of them inlined. */
function addLegacy(form: Form, formIndex: number, variants: HandlerVariant[]): void {
  const { w, default64 } = encodingOf(form)
  if (w || default64) return
  const add = (key: number): void => void variants.push({ form, formIndex, key, inline: false })
  const both = (key: number): void => {
    add(key)
    add(key + 1)
  }
  if (form.options.string) {
    for (let repeat = 0; repeat < 3; repeat++) both(Variant.legacyString + 2 * repeat)
    return
  }
  const memory = memoryOperand(form)
  if (!memory.always) {
    add(Variant.legacyRegister)
    if (form.options.addressSized) add(Variant.legacyRegister + 1)
  }
  if (!memory.possible) return
  both(Variant.legacyMemory)
  if (form.options.lock) both(Variant.legacyLocked)
}

/** Every handler of every form. */
export function handlerVariants(forms: readonly Form[]): HandlerVariant[] {
  const variants: HandlerVariant[] = []
  forms.forEach((form, formIndex) => {
    if (form.options.mode !== 'only64') addLegacy(form, formIndex, variants)
    if (form.options.mode === 'no64') return
    const hot = form.options.hot === true
    const add = (key: number, inline = false): void => void variants.push({ form, formIndex, key, inline })
    if (form.options.string) {
      for (let key = 0; key < 6; key++) add(Variant.string + key)
      return
    }
    const memory = memoryOperand(form)
    if (!memory.always) add(Variant.register, hot)
    if (form.options.addressSized) add(Variant.address32)
    if (!memory.possible) return
    const absolute = form.operands.some((kind) => kind.startsWith('moffs'))
    if (hot && !absolute) {
      add(Variant.memoryBase, true)
      add(Variant.memoryIndex, true)
    }
    add(Variant.memory)
    if (form.options.lock) add(Variant.locked)
  })
  return variants
}
