/**
 * What carries control messages: a MessagePort, a Worker or anything else with messages in both directions. Hosts have
 * two styles of listening, `addEventListener` (browsers, Node's MessagePort) and `on` (Node's Worker); both will do.
 */

/** What hosts' own types call these parameters differs; what goes through them does not. */
// biome-ignore lint/suspicious/noExplicitAny: a MessagePort of Node and one of a browser must both fit
type Loose = any

/** One end of a channel of structured-clonable messages. */
export interface ControlPort {
  /** `transfer`: an array of buffers that the message gives away. */
  postMessage(message: unknown, transfer?: Loose): void
  /** The listener gets an event with the message as its `data`. */
  addEventListener?(type: 'message', listener: (event: Loose) => void): void
  /** Takes back `addEventListener`. */
  removeEventListener?(type: 'message', listener: (event: Loose) => void): void
  /** The listener gets the message itself. */
  on?(type: 'message', listener: (message: Loose) => void): unknown
  /** Takes back `on`. */
  off?(type: 'message', listener: (message: Loose) => void): unknown
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
