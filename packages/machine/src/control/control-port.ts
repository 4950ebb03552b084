/**
 * What carries control messages: a MessagePort, a Worker or anything else with messages in both directions. Hosts have
 * two styles of listening, `addEventListener` (browsers, Node's MessagePort) and `on` (Node's Worker); both will do.
 */

/** One end of a channel of structured-clonable messages. */
export interface ControlPort {
  postMessage(message: unknown, transfer?: readonly ArrayBuffer[]): void
  addEventListener?(type: 'message', listener: (event: { readonly data: unknown }) => void): void
  removeEventListener?(type: 'message', listener: (event: { readonly data: unknown }) => void): void
  on?(type: 'message', listener: (data: unknown) => void): unknown
  off?(type: 'message', listener: (data: unknown) => void): unknown
  /** Ports that were transferred wait with their messages until this is called. */
  start?(): void
}

/** Listens for messages. Answers the end of it. */
export function listen(port: ControlPort, receive: (message: unknown) => void): () => void {
  if (port.addEventListener && port.removeEventListener) {
    const listener = (event: { readonly data: unknown }): void => receive(event.data)
    port.addEventListener('message', listener)
    port.start?.()
    return () => port.removeEventListener?.('message', listener)
  }
  port.on?.('message', receive)
  return () => port.off?.('message', receive)
}
