/** Takes files that are dropped anywhere on the page. */
import type { JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'

export function FileDrop({ take }: { take(files: readonly File[]): void }): JSX.Element | null {
  const [over, setOver] = useState(false)
  const taker = useRef(take)
  taker.current = take
  useEffect(() => {
    const end = new AbortController()
    const { signal } = end
    // A drag tells of every element that it enters and leaves; what counts is whether it is over any.
    let depth = 0
    const on = (
      name: 'dragenter' | 'dragover' | 'dragleave' | 'drop',
      act: (event: DragEvent) => void,
    ): void =>
      addEventListener(
        name,
        (event) => {
          if (!event.dataTransfer?.types.includes('Files')) return
          event.preventDefault()
          act(event)
        },
        { signal },
      )
    on('dragenter', () => setOver(++depth > 0))
    on('dragleave', () => setOver(--depth > 0))
    on('dragover', () => {})
    on('drop', (event) => {
      depth = 0
      setOver(false)
      taker.current([...event.dataTransfer!.files])
    })
    return () => end.abort()
  }, [])
  return over ? <div class="drop">Drop a kernel, an initrd or a saved machine</div> : null
}
