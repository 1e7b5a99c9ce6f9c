/**
 * The journald driver: each line is one datagram of systemd's native journal protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL), with dockerd's
 * fields. Reading is from the local log.
 */
import { rfc3339Nano } from '#base/clock.ts'
import { Fault, isFault } from '#base/fault.ts'
import type { LogEntry } from '../../contract/containers.ts'
import { attributesBesideTag, lineOf, tagOfSink, type LogSink, type SinkRequest } from './sink.ts'

const journalSocket = '/run/systemd/journal/socket'

type Fields = Readonly<Record<string, string | Buffer>>

export async function openJournald(request: SinkRequest, socketPath = journalSocket): Promise<LogSink> {
  const { sockets } = request
  try {
    await sockets.sendDatagram(socketPath, undefined)
  } catch (error) {
    throw isFault(error) ? new Fault('internal', 'failed to initialize logging driver: journald is not enabled on this host', { cause: error }) : error
  }
  const fields = containerFields(request)
  return {
    send: (entry) => sockets.sendDatagram(socketPath, journalMessage({ ...fields, ...entryFields(entry) })),
    [Symbol.dispose]: () => undefined,
  }
}

function containerFields(request: Pick<SinkRequest, 'spec' | 'source'>): Fields {
  const { id, name, imageName } = request.source
  const tag = tagOfSink(request)
  const extra = Object.entries(attributesBesideTag(request)).map(([key, value]): [string, string] => [fieldName(key), value])
  return { CONTAINER_ID: id.slice(0, 12), CONTAINER_ID_FULL: id, CONTAINER_NAME: name, CONTAINER_TAG: tag, IMAGE_NAME: imageName, SYSLOG_IDENTIFIER: tag, ...Object.fromEntries(extra.filter(([key]) => key !== '')) }
}

/** Upper case letters, digits and underscores, no underscore first. */
function fieldName(key: string): string {
  return key.toUpperCase().replace(/[^A-Z0-9]/g, '_').replace(/^_+/, '')
}

function entryFields(entry: LogEntry): Fields {
  const { text, ends } = lineOf(entry)
  return { MESSAGE: text, PRIORITY: entry.channel === 'stderr' ? '3' : '6', SYSLOG_TIMESTAMP: rfc3339Nano(entry.timeNs), ...(ends ? {} : { CONTAINER_PARTIAL_MESSAGE: 'true' }) }
}

/** `NAME=value\n`; a value with a line feed stands behind its length (8 bytes, little-endian) instead. */
export function journalMessage(fields: Fields): Buffer {
  return Buffer.concat(
    Object.entries(fields).map(([name, value]) => {
      const bytes = Buffer.from(value)
      if (!bytes.includes(0x0a)) return Buffer.concat([Buffer.from(`${name}=`), bytes, Buffer.from('\n')])
      const length = Buffer.alloc(8)
      length.writeBigUInt64LE(BigInt(bytes.length))
      return Buffer.concat([Buffer.from(`${name}\n`), length, bytes, Buffer.from('\n')])
    }),
  )
}
