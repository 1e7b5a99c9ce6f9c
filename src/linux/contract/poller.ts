/**
 * Sockets that Node cannot open itself: of another kind (bridged to streams by one worker that sits in epoll_wait(2)), or in
 * another network namespace.
 */
import type { Duplex } from 'node:stream'

/**
 * A SEQPACKET connection. Reading is by packet: the stream is in object mode on its readable side and each `data` is one
 * packet (a Buffer). Writing takes bytes and cuts them into packets of at most 8192; `end()` shuts our direction down and
 * leaves the other open. A reader that takes nothing for `stallMs` while packets wait is cut off with a `resourceExhausted`
 * fault, because the sender (conmon) would otherwise stand still, and its container with it.
 */
export interface PacketSocket extends Duplex {}

export interface Poller {
  /** Faults: `notFound` (no such socket), `unavailable` (nobody listens). The path may be longer than the 107 bytes of sun_path. */
  connectSeqpacket(path: string, options?: { readonly stallMs?: number }): Promise<PacketSocket>
  /** A TCP connection made inside a network namespace, to an address of its own such as 127.0.0.1. Faults: `unavailable` (nobody listens), `notFound` (no such namespace), `timeout` (5 s). */
  connectTcp(target: { readonly netns: string; readonly host: string; readonly port: number }): Promise<Duplex>
  /** One datagram to a unix socket (journald, syslog); without bytes it is only seen whether somebody listens. Never waits: `unavailable` where the receiver is behind. */
  sendDatagram(path: string, data: Uint8Array | undefined): Promise<void>
  /** Descriptors of a UDP and a TCP socket (not yet listening) bound to the same free port of an address inside a network namespace. Who takes them closes them. */
  bindBoth(target: { readonly netns: string; readonly host: string }): Promise<{ readonly udp: number; readonly tcp: number; readonly port: number }>
}
