/** The pictures on the buttons: strokes on a grid of 24. */
import type { JSX } from 'preact'

const PATHS = {
  play: 'M8 5v14l11-7z',
  pause: 'M9 5v14M15 5v14',
  reset: 'M20 12a8 8 0 1 1-2.6-5.9M20 3v5h-5',
  save: 'M12 4v11M7.5 11 12 15.500 16.500 11M5 20h14',
  restore: 'M12 16V5M7.500 9.500 12 5l4.500 4.500M5 20h14',
  guest: 'M4 7h9M18 7h2M4 17h2M11 17h9M15.500 4.500v5M8.500 14.500v5',
} as const

export type IconName = keyof typeof PATHS

export function Icon({ name }: { readonly name: IconName }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  )
}
