/** The terminal at the guest's serial console. */
import { FitAddon } from '@xterm/addon-fit'
import { SerializeAddon } from '@xterm/addon-serialize'
import { Terminal } from '@xterm/xterm'

export interface ConsoleTerminal {
  /** What is shown in the page. */
  readonly element: HTMLElement
  readonly rows: number
  readonly columns: number
  /** Shows output. @param shown - called when it was dealt with */
  write(output: Uint8Array | string, shown?: () => void): void
  /** Empties it, scrolled-back lines too. */
  clear(): void
  /** What it shows, as text with escape sequences. */
  snapshot(): string
  /** Calls `listener` with what is typed or pasted. */
  onInput(listener: (bytes: Uint8Array) => void): void
  focus(): void
}

const SCROLLBACK_LINES = 5000
/** Lines of the past that a saved machine keeps. */
const SNAPSHOT_LINES = 1000

const THEME = {
  background: '#0b0e14',
  foreground: '#cfd7e3',
  cursor: '#63d8ae',
  cursorAccent: '#0b0e14',
  selectionBackground: '#2c3b52',
  black: '#1b222d',
  red: '#f2777a',
  green: '#7fd3a1',
  yellow: '#e9c46a',
  blue: '#74a8f7',
  magenta: '#c79bf0',
  cyan: '#6fd0d8',
  white: '#cfd7e3',
  brightBlack: '#5c6a7d',
  brightRed: '#ff9a9c',
  brightGreen: '#a2e8bf',
  brightYellow: '#f6dc94',
  brightBlue: '#9cc3ff',
  brightMagenta: '#dcbcff',
  brightCyan: '#97e6ec',
  brightWhite: '#f4f7fb',
}

export function createConsoleTerminal(): ConsoleTerminal {
  const element = document.createElement('div')
  element.className = 'console'
  const terminal = new Terminal({
    fontFamily: 'ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace',
    fontSize: 14,
    lineHeight: 1.25,
    scrollback: SCROLLBACK_LINES,
    cursorBlink: true,
    theme: THEME,
  })
  const fit = new FitAddon()
  const serializer = new SerializeAddon()
  terminal.loadAddon(fit)
  terminal.loadAddon(serializer)
  // It measures its characters when it is opened, so it must be in the page by then.
  let opened = false
  new ResizeObserver(() => {
    if (!element.isConnected) return
    if (!opened) terminal.open(element)
    opened = true
    fit.fit()
  }).observe(element)

  const encoder = new TextEncoder()
  return {
    element,
    get rows() {
      return terminal.rows
    },
    get columns() {
      return terminal.cols
    },
    write: (output, shown) => terminal.write(output, shown),
    clear: () => terminal.reset(),
    snapshot: () => serializer.serialize({ scrollback: SNAPSHOT_LINES }),
    onInput(listener) {
      terminal.onData((text) => listener(encoder.encode(text)))
      terminal.onBinary((text) => listener(Uint8Array.from(text, (character) => character.charCodeAt(0))))
    },
    focus: () => terminal.focus(),
  }
}
