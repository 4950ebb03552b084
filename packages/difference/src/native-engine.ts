/** The CPU of the host as an engine: the harness of native-harness.ts in a process that the caller runs. */
import type { Engine } from './engine.ts'
import { IMAGE_BYTES, MachineImage, NoVector } from './machine-image.ts'

/** How the caller runs the harness: it gets all of standard input and answers with all of standard output. */
export interface HarnessProcess {
  /** Why the harness cannot run on this host, or undefined. */
  readonly unavailable?: string | undefined
  /** Sends records and answers as many, in order. */
  exchange(input: Uint8Array): Uint8Array
}

/** Records per process: 8 MB of input. */
const BATCH = 4000
const SIGALRM = 14

/** The host's CPU as an engine, by a process that runs `nativeHarness`. */
export function nativeEngine(process: HarnessProcess): Engine {
  return {
    name: 'native',
    unavailable: process.unavailable,
    run: (cases) => {
      const ends: MachineImage[] = []
      while (ends.length < cases.length) {
        const batch = cases.slice(ends.length, ends.length + BATCH)
        const input = new Uint8Array(batch.length * IMAGE_BYTES)
        batch.forEach(({ start }, index) => {
          input.set(start.bytes, index * IMAGE_BYTES)
        })
        const output = process.exchange(input)
        const answered = Math.floor(output.length / IMAGE_BYTES)
        for (let index = 0; index < answered; index++)
          ends.push(end(output.slice(index * IMAGE_BYTES, (index + 1) * IMAGE_BYTES)))
        if (answered < batch.length) {
          // The process died of this case; the rest goes to a new one.
          const lost = batch[answered]!.start.clone()
          lost.vector = NoVector.unsupported
          ends.push(lost)
        }
      }
      return ends
    },
  }
}

function end(bytes: Uint8Array): MachineImage {
  const image = new MachineImage(bytes)
  if (image.signal === SIGALRM) image.vector = NoVector.timeout
  if (image.vector !== 14) image.faultAddress = 0n
  // The kernel keeps the error code of an earlier exception where there is none.
  if (![8, 10, 11, 12, 13, 14, 17, 21].includes(image.vector)) image.errorCode = 0
  return image
}
