/** What is to be booted: memory, kernel, initrd, command line. */
import type { JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { GuestChoice } from './guest-choice.ts'
import type { OfferedGuest } from './offered-guest.ts'

export interface GuestDialogProperties {
  readonly choice: GuestChoice
  readonly offer: OfferedGuest | undefined
  close(): void
  boot(choice: GuestChoice): void
}

const MEMORY_MIB = [64, 128, 256, 512, 1024, 2048, 3072]

export function GuestDialog({ choice, offer, close, boot }: GuestDialogProperties): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null)
  const [wanted, setWanted] = useState(choice)
  useEffect(() => {
    dialog.current!.showModal()
  }, [])
  // Files may be dropped while the dialog is open.
  useEffect(() => setWanted(choice), [choice])
  const change = (part: Partial<GuestChoice>): void => setWanted({ ...wanted, ...part })
  const { kernel, initrd, memoryMib, append } = wanted
  const sizes = MEMORY_MIB.includes(memoryMib) ? MEMORY_MIB : [...MEMORY_MIB, memoryMib].sort((a, b) => a - b)

  return (
    <dialog ref={dialog} class="guest-dialog" onClose={close} aria-labelledby="guest-dialog-title">
      <form
        method="dialog"
        onSubmit={() => {
          boot({ ...wanted, append: append.trim() })
        }}
      >
        <h2 id="guest-dialog-title">Guest</h2>
        <label class="field">
          <span>Memory</span>
          <select
            value={String(memoryMib)}
            onChange={({ currentTarget }) => change({ memoryMib: Number(currentTarget.value) })}
          >
            {sizes.map((mib) => (
              <option key={mib} value={String(mib)}>
                {mib < 1024 ? `${mib} MiB` : `${mib / 1024} GiB`}
              </option>
            ))}
          </select>
        </label>
        <FileField
          label="Kernel"
          name={kernel?.name ?? offer?.title ?? 'none'}
          chosen={kernel !== undefined}
          choose={(file) => change({ kernel: file })}
          forget={offer && (() => change({ kernel: undefined }))}
          forgetLabel="Default"
        />
        <FileField
          label="Initrd"
          name={initrd === 'none' || (!initrd && !offer) ? 'none' : (initrd?.name ?? 'busybox shell')}
          chosen={initrd !== undefined}
          choose={(file) => change({ initrd: file })}
          forget={offer && (() => change({ initrd: initrd === undefined ? 'none' : undefined }))}
          forgetLabel={initrd === undefined ? 'None' : 'Default'}
          always
        />
        <label class="field">
          <span>Kernel options</span>
          <input
            type="text"
            value={append}
            placeholder="more for the command line"
            spellcheck={false}
            autocomplete="off"
            onInput={({ currentTarget }) => change({ append: currentTarget.value })}
          />
        </label>
        <p class="hint">
          A kernel is a bzImage or a 64-bit ELF file, with its console on ttyS0. Files can be dropped on the
          page, too. Booting ends the machine that runs now.
        </p>
        <div class="actions">
          <button type="button" onClick={() => dialog.current!.close()}>
            Cancel
          </button>
          <button type="submit" class="primary" disabled={kernel === undefined && !offer}>
            Boot
          </button>
        </div>
      </form>
    </dialog>
  )
}

interface FileFieldProperties {
  readonly label: string
  readonly name: string
  /** Whether a file was chosen in place of the default. */
  readonly chosen: boolean
  choose(file: File): void
  readonly forget: (() => void) | undefined
  readonly forgetLabel: string
  /** Whether `forget` has a meaning for the default, too. */
  readonly always?: boolean
}

function FileField(properties: FileFieldProperties): JSX.Element {
  const { label, name, chosen, choose, forget, forgetLabel, always = false } = properties
  const input = useRef<HTMLInputElement>(null)
  return (
    <div class="field">
      <span>{label}</span>
      <div class="file">
        <output title={name}>{name}</output>
        {forget && (chosen || always) && (
          <button type="button" class="quiet" onClick={forget}>
            {forgetLabel}
          </button>
        )}
        <button type="button" class="quiet" onClick={() => input.current!.click()}>
          Choose …
        </button>
        <input
          ref={input}
          type="file"
          hidden
          aria-label={`${label} file`}
          onChange={({ currentTarget }) => {
            const file = currentTarget.files?.[0]
            currentTarget.value = ''
            if (file) choose(file)
          }}
        />
      </div>
    </div>
  )
}
