/** The guest that the server of the page offers; scripts/guest-files.ts writes the list. */

export interface OfferedGuest {
  /** For people, such as "Debian 6.1.0-56-cloud-amd64". */
  readonly title: string
  /** Complete addresses. */
  readonly kernel: string
  readonly initrd: string
}

/** The offer; undefined where the server has none. */
export async function offeredGuest(): Promise<OfferedGuest | undefined> {
  const list = new URL('guest/guest.json', document.baseURI)
  const response = await fetch(list).catch(() => undefined)
  // Servers of single-page sites answer with the page itself.
  if (!response?.ok || !response.headers.get('content-type')?.includes('json')) return undefined
  const { title, kernel, initrd } = (await response.json()) as OfferedGuest
  return { title, kernel: new URL(kernel, list).href, initrd: new URL(initrd, list).href }
}
