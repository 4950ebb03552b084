// Packs an initial RAM disk of one's own: a script as the first process, and busybox to run it.
import { readFile, writeFile } from 'node:fs/promises'
import { packCpio } from '@trapframe/machine'

const init = `#!/bin/busybox sh
/bin/busybox echo "my own init on Linux $(/bin/busybox uname -r)"
/bin/busybox poweroff -f
`
const busybox = await readFile(process.argv[3] ?? '.cache/guest/busybox')
const archive = packCpio([
  { type: 'directory', path: 'bin', mode: 0o755 },
  { type: 'directory', path: 'dev', mode: 0o755 },
  { type: 'character-device', path: 'dev/console', mode: 0o600, major: 5, minor: 1 },
  { type: 'file', path: 'bin/busybox', mode: 0o755, bytes: busybox },
  { type: 'file', path: 'init', mode: 0o755, bytes: new TextEncoder().encode(init) },
])
await writeFile(process.argv[2] ?? 'initrd.cpio', archive)
