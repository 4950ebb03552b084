/** Packs the guest's initramfs: our scripts, a static busybox with links for its applets, device nodes, extra files. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type CpioEntry, packCpio } from '@trapframe/machine'

/** A file to be put into the guest. */
export interface GuestFile {
  /** Path in the guest without a leading slash; folders on the way are made. */
  readonly path: string
  readonly bytes: Uint8Array
  /** Permission bits. Default: 0o755, so that a program can be run. */
  readonly mode?: number
}

/** What goes into an initramfs. */
export interface InitramfsOptions {
  /** A static busybox for x86-64. */
  readonly busybox: Uint8Array
  /** Names that busybox answers to (`busybox --list`). */
  readonly applets: readonly string[]
  /** /init and the other files of the guest itself (`readGuestSources`). */
  readonly sources: readonly GuestFile[]
  /** More files, such as programs to be measured. They win over files of the same path. */
  readonly files?: readonly GuestFile[]
}

const FOLDERS = ['bin', 'dev', 'etc', 'mnt', 'proc', 'root', 'run', 'sys', 'tmp', 'usr', 'var']
const LINKS = { sbin: 'bin', 'usr/bin': '../bin', 'usr/sbin': '../bin', 'var/run': '../run' }
/** Nodes for the time before /dev is mounted, and for kernels without devtmpfs: path, mode, major, minor. */
const DEVICES: readonly (readonly [string, number, number, number])[] = [
  ['console', 0o600, 5, 1],
  ['kmsg', 0o644, 1, 11],
  ['null', 0o666, 1, 3],
  ['random', 0o666, 1, 8],
  ['tty', 0o666, 5, 0],
  ['ttyS0', 0o660, 4, 64],
  ['ttyS1', 0o660, 4, 65],
  ['urandom', 0o666, 1, 9],
  ['zero', 0o666, 1, 5],
]
/** Applets that would run as process 1 in place of our /init. */
const LEFT_OUT = new Set(['busybox', 'init', 'linuxrc'])

/**
 * Builds the archive, uncompressed; the same input gives the same bytes.
 *
 * @throws BootError `boot/bad-archive` for a path that an archive cannot hold
 */
export function buildInitramfs(options: InitramfsOptions): Uint8Array {
  const entries = new Map<string, CpioEntry>()
  const put = (entry: CpioEntry): void => {
    const parent = entry.path.split('/').slice(0, -1).join('/')
    if (parent !== '' && !entries.has(parent)) put({ type: 'directory', path: parent, mode: 0o755 })
    entries.set(entry.path, entry)
  }
  for (const path of FOLDERS) put({ type: 'directory', path, mode: path === 'tmp' ? 0o1777 : 0o755 })
  for (const [path, target] of Object.entries(LINKS)) put({ type: 'symlink', path, mode: 0o777, target })
  for (const [name, mode, major, minor] of DEVICES) {
    put({ type: 'character-device', path: `dev/${name}`, mode, major, minor })
  }
  put({ type: 'file', path: 'bin/busybox', mode: 0o755, bytes: options.busybox })
  for (const applet of options.applets) {
    if (!LEFT_OUT.has(applet)) put({ type: 'symlink', path: `bin/${applet}`, mode: 0o777, target: 'busybox' })
  }
  for (const { path, bytes, mode = 0o755 } of [...options.sources, ...(options.files ?? [])]) {
    put({ type: 'file', path, mode, bytes })
  }
  return packCpio([...entries.values()])
}

/** Reads the guest's own files from the folder guests/initramfs. */
export function readGuestSources(folder: string): GuestFile[] {
  const script = (source: string, path: string): GuestFile => ({
    path,
    bytes: readFileSync(join(folder, source)),
  })
  const etc = readdirSync(join(folder, 'etc')).sort()
  return [
    script('init', 'init'),
    script('exec-agent', 'bin/exec-agent'),
    ...etc
      .filter((name) => statSync(join(folder, 'etc', name)).isFile())
      .map((name) => ({ ...script(join('etc', name), `etc/${name}`), mode: 0o644 })),
  ]
}

/** Applets of Debian 12's busybox-static that a shell user expects, for hosts that cannot run it to ask. */
export const FALLBACK_APPLETS: readonly string[] =
  `[ [[ arch ash awk base64 basename blkdiscard bunzip2 bzcat bzip2 cal cat chgrp chmod chown chroot clear cmp cp cpio
  crc32 cttyhack cut date dc dd df diff dirname dmesg du echo ed egrep env expand expr factor fallocate false fgrep find
  fold free fsync getopt grep groups gunzip gzip halt head hexdump hostid hostname hwclock id ifconfig insmod ionice ip
  kill killall last less link ln logger ls lsmod lzcat md5sum mkdir mke2fs mkfifo mknod mkswap mktemp modinfo modprobe
  more mount mv nc netstat nl nproc nslookup od paste patch pidof ping pivot_root poweroff printf ps pwd readlink
  realpath reboot renice reset resize rev rm rmdir rmmod route sed seq setsid sh sha1sum sha256sum sha3sum sha512sum
  shred shuf sleep sort stat strings stty su swapoff swapon switch_root sync sysctl tac tail tar taskset tee telnet test
  tftp time timeout top touch tr traceroute true truncate tty udhcpc umount uname uncompress uniq unlink unlzma unxz
  unzip uptime usleep uudecode uuencode vi watch wc wget which who whoami xargs xxd xz xzcat yes zcat`.split(
    /\s+/,
  )
