/** Log options: dockerd's words (those of 20.10, compared), its defaults, and ours where it has none. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isFault } from '#base/fault.ts'
import { addressOf, facilityOf, syslogMessage, type SyslogFormat } from './log-sinks/syslog-format.ts'
import { attributesText, checkLogOptions, logAttributesOf, logBoundsOf, type LogSpec } from './log-options.ts'

const log = (options: Record<string, string>, driver: LogSpec['driver'] = 'json-file'): LogSpec => ({ driver, options })

test('a creation refuses unknown names and modes', () => {
  const refused = (spec: LogSpec, message: string): void => assert.throws(() => checkLogOptions(spec), (error) => isFault(error, 'invalidArgument') && error.message === message)
  refused(log({ foo: 'bar' }), "unknown log opt 'foo' for json-file log driver")
  refused(log({ labels: 'x' }, 'local'), "unknown log opt 'labels' for log driver local")
  refused(log({ mode: 'fast' }), 'logger: logging mode not supported: fast')
  refused(log({ 'max-buffer-size': '4m' }), "logger: max-buffer-size option is only supported with 'mode=non-blocking'")
  refused(log({ mode: 'non-blocking', 'max-buffer-size': 'zz' }), "error parsing option max-buffer-size: invalid size: 'zz'")
  checkLogOptions(log({ mode: 'non-blocking', 'max-buffer-size': '4m', labels: 'a', env: 'b', tag: '{{.ID}}', 'max-size': 'what the start refuses' }))
  checkLogOptions(log({ anything: 'goes' }, 'none'))
})

test('a start refuses values', () => {
  const refused = (spec: LogSpec, message: string): void => assert.throws(() => logBoundsOf(spec), (error) => isFault(error) && error.message === `failed to initialize logging driver: ${message}`)
  refused(log({ 'max-size': 'abc' }), "invalid size: 'abc'")
  refused(log({ 'max-size': '0' }), 'max-size must be a positive number')
  refused(log({ 'max-file': '0' }), 'max-file cannot be less than 1')
  refused(log({ 'max-file': 'x' }), 'strconv.Atoi: parsing "x": invalid syntax')
  refused(log({ compress: 'maybe' }), 'strconv.ParseBool: parsing "maybe": invalid syntax')
  refused(log({ compress: 'true' }), 'compress cannot be true when max-file is less than 2 or max-size is not set')
  refused(log({ 'max-size': '-1' }, 'local'), "invalid value for max-size: -1: invalid size: '-1'")
  refused(log({ 'max-file': '1' }, 'local'), 'compression cannot be enabled when max file count is 1')
})

test('every log has a bound', () => {
  assert.deepEqual(logBoundsOf(log({})), { maxBytes: 10_000_000, maxFiles: 5, compress: false })
  assert.deepEqual(logBoundsOf(undefined), logBoundsOf(log({})))
  assert.deepEqual(logBoundsOf(log({ 'max-file': '3' })), { maxBytes: 10_000_000, maxFiles: 3, compress: false })
  assert.deepEqual(logBoundsOf(log({ 'max-size': '1.5k' })), { maxBytes: 1500, maxFiles: 1, compress: false })
  assert.deepEqual(logBoundsOf(log({ 'max-size': '10MB', 'max-file': '2', compress: 'true' })), { maxBytes: 10_000_000, maxFiles: 2, compress: true })
  assert.deepEqual(logBoundsOf(log({}, 'local')), { maxBytes: 20_000_000, maxFiles: 5, compress: true })
  assert.equal(logBoundsOf(log({}, 'none')), undefined)
})

test('labels, variables and a tag are shown with each line that is asked for with details', () => {
  const source = { id: 'a'.repeat(64), name: 'web', imageId: `sha256:${'b'.repeat(64)}`, imageName: 'bb:1', effective: { args: ['sh', '-c', 'x'], env: ['C=3', 'D=4=5'], labels: { one: '1', two: '2' } }, hostname: 'h' }
  assert.deepEqual(logAttributesOf(log({ labels: 'one', 'env-regex': '^[D]', tag: '{{.Name}}/{{ .ImageName }}' }), source), { one: '1', D: '4=5', tag: 'web/bb:1' })
  assert.equal(attributesText({ tag: 'web/bb 1', a: '=' }), 'a=%3D,tag=web%2Fbb+1')
  assert.throws(() => logAttributesOf(log({ tag: '{{.Foo}}' }), source), /template: log-tag:1:2: executing "log-tag" at <\.Foo>: can't evaluate field Foo in type \*logger\.Info/)
  assert.throws(() => logAttributesOf(log({ tag: '{{' }), source), /template: log-tag:1: unclosed action/)
  assert.throws(() => logAttributesOf(log({ tag: '{{if .ID}}x{{end}}' }), source), /is not supported/)
})

test('syslog messages have the forms of dockerd, and its addresses their defaults', () => {
  const line = { severity: 'info', timeNs: 1_767_225_600_123_456_789n, text: Buffer.from('hi') } as const
  const style = { facility: 3, hostname: 'h', tag: 't', pid: 7, framed: false } as const
  const text = (format: SyslogFormat, more: object = {}): string => syslogMessage(line, { ...style, format, ...more }).toString()
  assert.match(text(''), /^<30>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d t\[7\]: hi\n$/)
  assert.match(text('rfc3164'), /^<30>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d h t\[7\]: hi\n$/)
  assert.match(text('rfc5424'), /^<30>1 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d) h t 7 t - hi\n$/)
  assert.match(text('rfc5424micro', { framed: true }), /^(\d+) <30>1 .*\.123456(Z|[+-]\d\d:\d\d) h t 7 t - hi\n$/)
  const framed = text('rfc5424micro', { framed: true })
  assert.equal(Number(framed.split(' ', 1)[0]), framed.length - framed.indexOf(' ') - 1)
  assert.deepEqual([addressOf(''), addressOf('unixgram:///dev/log'), addressOf('udp://1.2.3.4'), addressOf('tcp+tls://[::1]:6514')], [{ kind: 'local' }, { kind: 'unixgram', path: '/dev/log' }, { kind: 'udp', host: '1.2.3.4', port: 514 }, { kind: 'tcp+tls', host: '::1', port: 6514 }])
  assert.deepEqual([facilityOf(), facilityOf('local7'), facilityOf('23')], [3, 23, 23])
  assert.deepEqual(logBoundsOf(log({ 'cache-max-size': '1m', 'cache-max-file': '2' }, 'syslog')), { maxBytes: 1_000_000, maxFiles: 2, compress: true })
})
