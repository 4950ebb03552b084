/** The line at the bottom: how the machine is, how fast, and what it is made of. */
import type { JSX } from 'preact'
import type { SessionView } from './session.ts'

const PHASES: Readonly<Record<SessionView['phase'], string>> = {
  empty: 'No machine',
  loading: 'Loading',
  created: 'Ready',
  running: 'Running',
  pausing: 'Pausing',
  paused: 'Paused',
  stopped: 'Off',
  failed: 'Failed',
}

export function StatusLine({ view }: { readonly view: SessionView }): JSX.Element {
  const { speed, phase, shellMs } = view
  return (
    <footer class="status">
      <span class="state" role="status">
        <i class="dot" />
        {view.task ? `${view.task} …` : PHASES[phase]}
      </span>
      <span class="speed" title={`${count(speed.instructions)} instructions since power-on`}>
        <Sparkline values={speed.history} />
        <Figure value={whole(speed.mips)} unit="MIPS" name="mips" />
      </span>
      <span title={exitText(view)}>
        <Figure value={count(speed.exitsPerSecond)} unit="exits/s" name="exits" />
      </span>
      {shellMs !== undefined && (
        <span title="From the wish to boot until the guest's shell, with loading">
          <Figure value={(shellMs / 1000).toFixed(1)} unit="s to shell" name="boot" />
        </span>
      )}
      <span class="gap" />
      <span>
        <Figure value={String(view.choice.memoryMib)} unit="MiB" name="memory" />
      </span>
      <span
        class="isolation"
        title={
          view.sharedMemory
            ? 'The page is isolated from others, so that threads can share the memory of the guest'
            : 'The page is not isolated from others: no memory can be shared between threads'
        }
      >
        {view.sharedMemory ? 'shared memory' : 'unshared memory'}
      </span>
    </footer>
  )
}

function Figure(properties: {
  readonly value: string
  readonly unit: string
  readonly name: string
}): JSX.Element {
  const { value, unit, name } = properties
  return (
    <>
      <b data-figure={name}>{value}</b> {unit}
    </>
  )
}

const WIDTH = 72
const HEIGHT = 16

/** The speed of the last half a minute. */
function Sparkline({ values }: { readonly values: readonly number[] }): JSX.Element {
  const top = Math.max(...values, 1)
  const step = WIDTH / 47
  const left = WIDTH - (values.length - 1) * step
  const points = values.map((value, n) => {
    const y = HEIGHT - 1 - (value / top) * (HEIGHT - 2)
    return `${(left + n * step).toFixed(1)},${y.toFixed(1)}`
  })
  const end = `${WIDTH},${HEIGHT} ${left.toFixed(1)},${HEIGHT}`
  return (
    <svg class="sparkline" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} aria-hidden="true">
      {values.length > 1 && <polygon points={`${points.join(' ')} ${end}`} />}
      {values.length > 1 && <polyline points={points.join(' ')} />}
    </svg>
  )
}

/** Ways out of the engine by kind, the most frequent first. */
function exitText({ counters }: SessionView): string {
  return Object.entries(counters['vcpu-0'] ?? {})
    .filter(([name, value]) => name.startsWith('exits-') && value > 0)
    .sort(([, a], [, b]) => b - a)
    .map(([name, value]) => `${name.slice('exits-'.length)}: ${count(value)}`)
    .join('\n')
}

function whole(value: number): string {
  return value > 0 && value < 10 ? value.toFixed(1) : value.toFixed(0)
}

/** Three digits and a unit. */
function count(value: number): string {
  if (value < 1000) return value.toFixed(0)
  const units = ['k', 'M', 'G', 'T']
  let scaled = value
  let unit = ''
  for (const next of units) {
    if (scaled < 1000) break
    scaled /= 1000
    unit = next
  }
  return `${scaled.toPrecision(3)} ${unit}`
}
