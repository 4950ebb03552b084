/** `--stats`: the counters of machine, backend, vCPU and devices, as text. */
import type { MachineMetrics } from '@trapframe/machine'

/** One line for each component; counters that are zero are left out. */
export function formatStatistics(
  metrics: MachineMetrics,
  process: { cpuSeconds: number; realSeconds: number },
): string {
  const lines = Object.entries(metrics).flatMap(([component, counters]) => {
    const shown = Object.entries(counters).filter(([, value]) => value !== 0)
    return shown.length === 0
      ? []
      : [`${component}: ${shown.map(([name, value]) => `${name} ${value}`).join(', ')}`]
  })
  const vcpu = metrics['vcpu-0'] ?? {}
  const instructions = vcpu['instructions-retired'] ?? 0
  const { cpuSeconds, realSeconds } = process
  const perSecond = cpuSeconds > 0 ? instructions / cpuSeconds / 1e6 : 0
  lines.push(
    `process: ${cpuSeconds.toFixed(2)} CPU seconds, ${realSeconds.toFixed(2)} s, ${perSecond.toFixed(0)} million instructions per CPU second`,
  )
  return lines.join('\n')
}
