/** The syslog driver's connections: datagrams to the machine's own socket or over UDP, a stream over TCP, TLS or a unix socket. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { readFile, stat } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { Fault, isFault, systemErrorCode } from '#base/fault.ts'
import { addressOf, facilityOf, formatOf, syslogMessage, type SyslogAddress, type SyslogStyle } from './syslog-format.ts'
import { lineOf, tagOfSink, type LogSink, type SinkRequest } from './sink.ts'

type Channel = Disposable & { send(message: Buffer): Promise<void> }

/** How long a connection may take, milliseconds. */
const connectTimeoutMs = 10_000

/** Fault: `internal`, in dockerd's words of a start that fails, when nobody listens. */
export async function openSyslog(request: SinkRequest): Promise<LogSink> {
  const { spec, source } = request
  const options = spec.options ?? {}
  const address = addressOf(options['syslog-address'])
  const format = formatOf(options['syslog-format'])
  const style: SyslogStyle = { facility: facilityOf(options['syslog-facility']), format, hostname: source.hostname, tag: tagOfSink(request), pid: process.pid, framed: address.kind === 'tcp+tls' && format.startsWith('rfc5424') }
  try {
    const channel = await openChannel(address, request)
    return {
      async send(entry) {
        const { text } = lineOf(entry)
        if (text.length > 0) await channel.send(syslogMessage({ severity: entry.channel === 'stderr' ? 'err' : 'info', timeNs: entry.timeNs, text }, style))
      },
      [Symbol.dispose]: () => channel[Symbol.dispose](),
    }
  } catch (error) {
    throw new Fault('internal', `failed to initialize logging driver: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}

async function openChannel(address: SyslogAddress, request: SinkRequest): Promise<Channel> {
  switch (address.kind) {
    case 'local':
      return localChannel(request)
    case 'unixgram':
      return datagramChannel(address.path, request)
    case 'unix':
      return streamChannel(connect(address.path), 'connect', request)
    case 'udp':
      return udpChannel(address)
    case 'tcp':
      return streamChannel(connect({ host: address.host, port: address.port }), 'connect', request)
    case 'tcp+tls': {
      const options = request.spec.options ?? {}
      const file = async (name: string): Promise<Buffer | undefined> => (options[name] ? readFile(options[name]) : undefined)
      const [ca, cert, key] = await Promise.all(['syslog-tls-ca-cert', 'syslog-tls-cert', 'syslog-tls-key'].map(file))
      return streamChannel(connectTls({ host: address.host, port: address.port, servername: address.host, rejectUnauthorized: !('syslog-tls-skip-verify' in options), ...(ca === undefined ? {} : { ca }), ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }) }), 'secureConnect', request)
    }
  }
}

/** Where Go's syslog looks, too. */
async function localChannel(request: SinkRequest): Promise<Channel> {
  for (const path of ['/dev/log', '/var/run/syslog', '/var/run/log']) {
    const found = await stat(path).catch((error: unknown) => {
      if (systemErrorCode(error) === 'ENOENT') return undefined
      throw error
    })
    if (found !== undefined) return datagramChannel(path, request)
  }
  throw new Fault('unavailable', 'Unix syslog delivery error')
}

async function datagramChannel(path: string, { sockets }: SinkRequest): Promise<Channel> {
  await sockets.sendDatagram(path, undefined)
  return {
    send: (message) => unlessTooLong(sockets.sendDatagram(path, message)),
    [Symbol.dispose]: () => undefined,
  }
}

async function udpChannel({ host, port }: { readonly host: string; readonly port: number }): Promise<Channel> {
  const socket = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4' })
  socket.unref()
  socket.connect(port, host)
  await once(socket, 'connect')
  // That nobody listened is told at a later send; a datagram may be lost.
  let refused: Error | undefined
  socket.on('error', (error) => (refused = error))
  return {
    async send(message) {
      if (refused !== undefined) throw refused
      await unlessTooLong(new Promise<void>((resolve, reject) => socket.send(message, (error) => (error === null ? resolve() : reject(error)))))
    },
    [Symbol.dispose]: () => void socket.close(),
  }
}

/** A message that no datagram holds is dropped, as it would be for ever. */
async function unlessTooLong(sending: Promise<void>): Promise<void> {
  try {
    await sending
  } catch (error) {
    if (systemErrorCode(error) !== 'EMSGSIZE' && !(isFault(error) && error.details['errno'] === 'EMSGSIZE')) throw error
  }
}

async function streamChannel(socket: Socket, connected: 'connect' | 'secureConnect', { clock }: SinkRequest): Promise<Channel> {
  const timer = clock.after(connectTimeoutMs, () => void socket.destroy(new Fault('timeout', 'the connection took too long')), { background: true })
  try {
    await once(socket, connected)
  } finally {
    timer.cancel()
  }
  socket.unref()
  // Servers say nothing; their end must be noticed.
  socket.resume()
  let broken: Error | undefined
  socket.on('error', (error) => (broken = error))
  socket.on('close', () => (broken ??= new Fault('unavailable', 'the syslog server closed the connection')))
  return {
    send: (message) =>
      new Promise<void>((resolve, reject) => {
        if (broken !== undefined) return reject(broken)
        socket.write(message, (error) => (error === undefined || error === null ? resolve() : reject(error)))
      }),
    [Symbol.dispose]: () => void socket.end(),
  }
}
