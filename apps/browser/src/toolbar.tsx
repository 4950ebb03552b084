/** The bar at the top: what can be done with the machine. */
import type { JSX } from 'preact'
import { useRef } from 'preact/hooks'
import { Icon, type IconName } from './icon.tsx'
import type { Session, SessionView } from './session.ts'

export interface ToolbarProperties {
  readonly view: SessionView
  readonly session: Session
  chooseGuest(): void
}

export function Toolbar({ view, session, chooseGuest }: ToolbarProperties): JSX.Element {
  const { phase, task } = view
  const busy = task !== undefined
  const alive = phase === 'running' || phase === 'paused'
  const machineFile = useRef<HTMLInputElement>(null)
  const primary =
    phase === 'running' ? ['pause', 'Pause'] : phase === 'paused' ? ['play', 'Resume'] : ['play', 'Start']
  return (
    <header class="toolbar">
      <h1 class="brand">
        <svg viewBox="0 0 24 24" aria-hidden="true">
          <path d="M8 4H4v16h4M16 4h4v16h-4M9 12h6" />
        </svg>
        Trapframe
      </h1>
      <div class="guest-title" title={view.title}>
        {view.title}
      </div>
      <div class="buttons">
        <Button
          icon={primary[0] as IconName}
          label={primary[1]!}
          class="primary"
          disabled={busy || phase === 'loading' || phase === 'pausing'}
          press={() => void session.toggle()}
        />
        <Button
          icon="reset"
          label="Reset"
          disabled={busy || !alive}
          press={() => void session.reset()}
          hint="Press the machine's reset button"
        />
        <span class="divider" />
        <Button
          icon="save"
          label="Save"
          disabled={busy || !alive}
          press={() => void session.save()}
          hint="The whole machine to a file"
        />
        <Button
          icon="restore"
          label="Restore"
          disabled={busy}
          press={() => machineFile.current!.click()}
          hint="A saved machine from a file"
        />
        <span class="divider" />
        <Button
          icon="guest"
          label="Guest"
          disabled={busy}
          press={chooseGuest}
          hint="Memory size, kernel, initrd"
        />
      </div>
      <input
        ref={machineFile}
        type="file"
        hidden
        accept=".trapframe"
        aria-label="Saved machine"
        onChange={({ currentTarget }) => {
          const file = currentTarget.files?.[0]
          // The same file may be chosen again.
          currentTarget.value = ''
          if (file) void session.restore(file)
        }}
      />
    </header>
  )
}

interface ButtonProperties {
  readonly icon: IconName
  readonly label: string
  readonly class?: string
  readonly disabled: boolean
  readonly hint?: string
  press(): void
}

function Button({ icon, label, disabled, hint, press, ...rest }: ButtonProperties): JSX.Element {
  return (
    <button
      type="button"
      class={rest.class}
      disabled={disabled}
      title={hint}
      aria-label={label}
      onClick={press}
    >
      <Icon name={icon} />
      <span>{label}</span>
    </button>
  )
}
