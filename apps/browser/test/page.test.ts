/**
 * The bundled page in Chromium, with the Debian guest: once isolated from other pages, once not. Both are needed on this
 * machine; where one is missing, the tests are skipped and say why.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type DebianGuest, prepareDebianGuest } from '@trapframe/cli/src/guest/index.ts'
import { type BrowserContext, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bundlePage, type PageServer, servePage } from '../scripts/page-server.ts'

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url))
const CHROMIUM = '/usr/bin/chromium'
const CHROMIUM_OPTIONS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]
const BOOT_MS = 50_000
const PROMPT = /trapframe:~# $/

let guest: DebianGuest | undefined
const missing = existsSync(CHROMIUM)
  ? await prepareDebianGuest({
      cacheFolder: path('../../../.cache/guest'),
      sourceFolder: path('../../../guests/initramfs'),
    }).then(
      (prepared) => {
        guest = prepared
        return undefined
      },
      (error: Error) => `no Debian guest: ${error.message}`,
    )
  : `there is no ${CHROMIUM}`
if (missing !== undefined) console.warn(`skipped, ${missing}`)

const folder = mkdtempSync(join(tmpdir(), 'trapframe-page-'))
const bundle = join(folder, 'page')
beforeAll(async () => {
  if (missing === undefined) await bundlePage(bundle)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** The page with the words of its user. */
class Visit {
  readonly page: Page
  #runs = 0

  constructor(page: Page) {
    this.page = page
  }

  /** What the terminal shows, without the empty lines at its end. */
  async screen(): Promise<string> {
    const rows = await this.page.locator('.xterm-rows > div').allTextContents()
    return rows
      .map((row) => row.replaceAll('\u00a0', ' ').trimEnd())
      .join('\n')
      .trimEnd()
  }

  /** Waits until the last line is the shell's prompt, with nothing behind it. */
  async prompt(timeoutMs: number = BOOT_MS): Promise<void> {
    await expect.poll(async () => `${await this.screen()} `, { timeout: timeoutMs }).toMatch(PROMPT)
  }

  async type(text: string): Promise<void> {
    await this.page.locator('.xterm-helper-textarea').focus()
    await this.page.keyboard.type(text)
  }

  /** Runs a command; answers what it printed. */
  async run(command: string): Promise<string> {
    const end = `end-of-${++this.#runs}`
    await this.type(`clear; ${command}; echo ${end}\n`)
    await expect
      .poll(async () => (await this.screen()).split('\n').slice(-2), { timeout: 20_000 })
      .toEqual([end, 'trapframe:~#'])
    return (await this.screen()).split('\n').slice(0, -2).join('\n')
  }

  async press(button: string): Promise<void> {
    await this.page.getByRole('button', { name: button, exact: true }).click()
  }

  async phase(phase: string, timeoutMs = 10_000): Promise<void> {
    await this.page.locator(`[data-phase=${phase}]:not([data-task])`).waitFor({ timeout: timeoutMs })
  }

  async figure(name: string): Promise<number> {
    return Number.parseFloat((await this.page.locator(`[data-figure=${name}]`).textContent()) ?? '')
  }
}

describe.skipIf(missing !== undefined).each([
  { name: 'isolated page, shared memory', isolated: true },
  { name: 'page without isolation', isolated: false },
])('$name', { timeout: 120_000 }, ({ isolated }) => {
  let server: PageServer
  let browser: BrowserContext
  let visit: Visit
  const problems: string[] = []

  beforeAll(async () => {
    server = await servePage({ guest, isolated, folder: bundle })
    browser = await chromium.launchPersistentContext(mkdtempSync(join(folder, 'profile-')), {
      executablePath: CHROMIUM,
      headless: true,
      args: CHROMIUM_OPTIONS,
      viewport: { width: 1100, height: 700 },
    })
    visit = new Visit(browser.pages()[0] ?? (await browser.newPage()))
    visit.page.on('pageerror', (error) => problems.push(String(error)))
    visit.page.on('console', (message) => {
      if (message.type() === 'error') problems.push(message.text())
    })
    await visit.page.goto(server.url)
  }, 60_000)
  afterAll(async () => {
    await browser?.close()
    await server?.close()
  })

  test('default: boots to the shell, which answers', async () => {
    await visit.prompt()
    expect(await visit.page.evaluate('crossOriginIsolated')).toBe(isolated)
    expect(await visit.page.locator('.isolation').textContent()).toBe(
      isolated ? 'shared memory' : 'unshared memory',
    )
    expect(await visit.run('uname -m; echo $((6 * 7)); stty size')).toMatch(/^x86_64\n42\n\d\d \d\d\d?$/)
    expect(await visit.figure('boot')).toBeGreaterThan(0)
  })

  test('behaviour: a paused guest does nothing, and goes on where it was', async () => {
    await visit.press('Pause')
    await visit.phase('paused')
    const before = await visit.screen()
    await visit.type('echo typed-in-a-$((1 + 1))-s-pause\n')
    await visit.page.waitForTimeout(300)
    expect(await visit.screen()).toBe(before)
    await visit.press('Resume')
    await visit.phase('running')
    await expect.poll(() => visit.screen(), { timeout: 10_000 }).toContain('\ntyped-in-a-2-s-pause')
  })

  test('behaviour: the page answers and shows the speed while the guest is busy', async () => {
    await visit.type('clear; while :; do :; done\n')
    await expect.poll(() => visit.figure('mips'), { timeout: 10_000 }).toBeGreaterThan(1)
    // Half a second of frames: a page that waits for the guest would have none.
    const frames = await visit.page.evaluate(`new Promise((resolve) => {
      let frames = 0
      const end = performance.now() + 500
      requestAnimationFrame(function count(now) {
        frames++
        if (now < end) requestAnimationFrame(count)
        else resolve(frames)
      })
    })`)
    expect(frames).toBeGreaterThan(3)
    await visit.page.keyboard.press('Control+c')
    await visit.prompt(10_000)
  })

  test('behaviour: a saved machine goes on in a page that was loaded anew', async () => {
    await visit.run('kept=in-memory-$((40 + 2)); echo file >/tmp/kept')
    const download = visit.page.waitForEvent('download')
    await visit.press('Save')
    const saved = join(folder, `${isolated}.trapframe`)
    await (await download).saveAs(saved)
    await visit.phase('running')
    expect(await visit.run('echo still-here')).toBe('still-here')

    await visit.page.reload()
    // Not waiting for the boot that begins now: the saved machine takes its place.
    await visit.page.getByLabel('Saved machine').setInputFiles(saved)
    await visit.phase('running', 30_000)
    await expect.poll(() => visit.screen(), { timeout: 10_000 }).toMatch(/^end-of-\d+\ntrapframe:~#$/)
    expect(await visit.run('echo $kept; cat /tmp/kept')).toBe('in-memory-42\nfile')
  })

  test('error: a damaged file leaves the machine as it is', async () => {
    await visit.page.getByLabel('Saved machine').setInputFiles({
      name: 'damaged.trapframe',
      mimeType: 'application/octet-stream',
      buffer: Buffer.from([0x89, 0x54, 0x46, 0x4d, 0x0d, 0x0a, 0x1a, 0x0a, 1, 0, 0, 0, 0, 0]),
    })
    await expect.poll(() => visit.page.getByRole('alert').textContent()).toContain('damaged')
    await visit.phase('running')
    expect(await visit.run('echo $kept')).toBe('in-memory-42')
  })

  // One more boot for each of the two.
  if (isolated)
    test('behaviour: kernel and initrd of the user, another size of memory', async () => {
      const drop = `const files = new DataTransfer()
        files.items.add(new File(['070701'], 'dropped.cpio'))
        for (const type of ['dragenter', 'drop'])
          document.body.dispatchEvent(new DragEvent(type, { bubbles: true, dataTransfer: files }))`
      await visit.page.evaluate(drop)
      const dialog = visit.page.getByRole('dialog')
      await expect
        .poll(() => dialog.locator('output').allTextContents())
        .toEqual([`Debian ${guest!.kernelRelease}`, 'dropped.cpio'])
      await dialog.getByLabel('Kernel file').setInputFiles(guest!.vmlinuz)
      await dialog.getByLabel('Initrd file').setInputFiles(guest!.initramfsGz)
      await dialog.getByLabel('Memory').selectOption('128')
      await dialog.getByLabel('Kernel options').fill('quiet')
      await dialog.getByRole('button', { name: 'Boot' }).click()
      await visit.prompt()
      expect(await visit.run('cat /proc/cmdline')).toBe('console=ttyS0,115200 panic=-1 quiet')
      expect(Number(await visit.run("awk '/MemTotal/ { print $2 }' /proc/meminfo"))).toBeLessThan(131_072)
    })
  else
    test('behaviour: a reset begins anew', async () => {
      await visit.press('Reset')
      await expect.poll(() => visit.screen(), { timeout: 10_000 }).not.toContain('trapframe:~#')
      await visit.prompt()
      expect(await visit.run('echo "[$kept]"; ls /tmp')).toBe('[]')
    })

  test('behaviour: the guest switches itself off', async () => {
    await visit.type('poweroff\n')
    await visit.phase('stopped', 20_000)
    await expect.poll(() => visit.page.locator('.notice').textContent()).toContain('switched itself off')
    expect(problems).toEqual([])
  })
})
