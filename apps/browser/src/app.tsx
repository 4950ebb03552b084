/** The whole page: bar, terminal, status line, and what comes over them. */
import type { JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { ConsoleTerminal } from './console-terminal.ts'
import { FileDrop } from './file-drop.tsx'
import { fileKind } from './file-kind.ts'
import type { GuestChoice } from './guest-choice.ts'
import { GuestDialog } from './guest-dialog.tsx'
import { LoadingCard } from './loading-card.tsx'
import type { Session } from './session.ts'
import { StatusLine } from './status-line.tsx'
import { Toolbar } from './toolbar.tsx'

export interface AppProperties {
  readonly session: Session
  readonly terminal: ConsoleTerminal
}

export function App({ session, terminal }: AppProperties): JSX.Element {
  const [view, setView] = useState(session.view)
  const [asked, setAsked] = useState<GuestChoice>()
  const place = useRef<HTMLDivElement>(null)
  useEffect(() => session.onChange(setView), [session])
  useEffect(() => {
    place.current!.append(terminal.element)
  }, [terminal])
  useEffect(() => {
    document.title = view.phase === 'running' ? `${view.title} · Trapframe` : 'Trapframe'
  }, [view.phase, view.title])

  async function take(files: readonly File[]): Promise<void> {
    const kinds = await Promise.all(files.map(fileKind))
    const find = (kind: string): File | undefined => files[kinds.indexOf(kind as (typeof kinds)[number])]
    const machine = find('machine')
    if (machine) return session.restore(machine)
    const { choice } = session.view
    setAsked({ ...choice, kernel: find('kernel') ?? choice.kernel, initrd: find('initrd') ?? choice.initrd })
  }

  const { notice } = view
  return (
    <div class="page" data-phase={view.phase} data-task={view.task}>
      <Toolbar view={view} session={session} chooseGuest={() => setAsked(view.choice)} />
      <main class="screen">
        <div class="screen-place" ref={place} />
        {view.phase === 'loading' && <LoadingCard title={view.title} progress={view.progress} />}
        {notice && (
          <div class="notice" data-tone={notice.tone} role={notice.tone === 'error' ? 'alert' : 'status'}>
            <span>{notice.text}</span>
            <button type="button" aria-label="Dismiss" onClick={() => session.say(undefined)}>
              ×
            </button>
          </div>
        )}
      </main>
      <StatusLine view={view} />
      <FileDrop take={(files) => void take(files)} />
      {asked && (
        <GuestDialog
          choice={asked}
          offer={view.offer}
          close={() => {
            setAsked(undefined)
            terminal.focus()
          }}
          boot={(choice) => void session.boot(choice)}
        />
      )}
    </div>
  )
}
