/**
 * The handlers that the interpreter has for a form: which of its operands is memory, how the address is made, LOCK,
 * repeat prefix, address size. The decoder's output picks one by its key.
 */
import type { Form } from '@trapframe/x86'

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
} as const
export const VARIANTS_PER_FORM = 16

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

/** Every handler of every form. */
export function handlerVariants(forms: readonly Form[]): HandlerVariant[] {
  const variants: HandlerVariant[] = []
  forms.forEach((form, formIndex) => {
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
