/** How far the guest's files are on their way. */
import type { JSX } from 'preact'
import type { FileProgress } from './worker-protocol.ts'

const NAMES = { kernel: 'Kernel', initrd: 'Initial RAM disk' } as const

export interface LoadingCardProperties {
  readonly title: string
  readonly progress: readonly FileProgress[]
}

export function LoadingCard({ title, progress }: LoadingCardProperties): JSX.Element {
  const complete = progress.every(({ doneBytes, totalBytes }) => doneBytes === totalBytes)
  return (
    <section class="loading" aria-label="Loading">
      <h2>{title}</h2>
      {progress.map((file) => (
        <FileRow key={file.file} {...file} />
      ))}
      <p>{complete ? 'Starting the machine …' : 'Fetching the guest …'}</p>
    </section>
  )
}

function FileRow({ file, doneBytes, totalBytes }: FileProgress): JSX.Element {
  return (
    <div class="file-row">
      <span>{NAMES[file]}</span>
      <span class="amount">
        {megabytes(doneBytes)}
        {totalBytes !== undefined && ` of ${megabytes(totalBytes)}`}
        {' MB'}
      </span>
      <progress value={doneBytes} max={totalBytes || 1} />
    </div>
  )
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1)
}
