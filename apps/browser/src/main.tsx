/** The page. */
import { render } from 'preact'
import { App } from './app.tsx'
import { createConsoleTerminal } from './console-terminal.ts'
import { createSession } from './session.ts'

const terminal = createConsoleTerminal()
const session = createSession(terminal, download)
render(<App session={session} terminal={terminal} />, document.getElementById('app')!)
// The terminal takes its size from the page, and the guest takes its own from the terminal.
requestAnimationFrame(() => setTimeout(() => void session.open()))

function download(file: Blob, name: string): void {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(file)
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000)
}
