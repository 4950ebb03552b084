/** What a file is that somebody drops on the page, by its first bytes. */
import { isBzImage, isElf } from '@trapframe/machine'
import { isMachineFile } from './machine-file.ts'

export type FileKind = 'kernel' | 'initrd' | 'machine'

/** What a bzImage says of itself lies in its first sectors. */
const START_BYTES = 1024

/** Whatever is neither a kernel nor a saved machine is taken for an initrd: those may be packed in many ways. */
export async function fileKind(file: Blob): Promise<FileKind> {
  const start = new Uint8Array(await file.slice(0, START_BYTES).arrayBuffer())
  if (isMachineFile(start)) return 'machine'
  return isBzImage(start) || isElf(start) ? 'kernel' : 'initrd'
}
