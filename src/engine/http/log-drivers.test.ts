/** The logging drivers syslog and journald: what servers receive, what `docker logs` reads, and what happens while a server is away. */
import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { after, before, suite, test } from 'node:test'
import { sleep, systemClock } from '#base/clock.ts'
import { Fault, isFault } from '#base/fault.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { openJournald } from '../containers/log-sinks/journald.ts'
import { busyboxMissing, openRealEngine, type ApiClient, type RealEngine } from '../real-engine.fixture.ts'

suite('logging drivers', { skip: busyboxMissing }, () => {
  let real: RealEngine
  let client: ApiClient
  before(async () => {
    real = await openRealEngine(await openKernel(), { name: 'lgdr', subnet: '172.29.108.0/22' })
    client = real.client
  })
  after(() => real[Symbol.asyncDispose]())

  const syslog = (options: Readonly<Record<string, string>>, more: object = {}): object => ({ NetworkMode: 'none', LogConfig: { Type: 'syslog', Config: options }, ...more })

  test('syslog over UDP: a message for each line, errors as such, and docker logs reads the same lines', async () => {
    const server = createSocket('udp4').bind(0, '127.0.0.1')
    await once(server, 'listening')
    const messages: string[] = []
    server.on('message', (message) => messages.push(message.toString()))
    try {
      const options = { 'syslog-address': `udp://127.0.0.1:${server.address().port}`, 'syslog-format': 'rfc5424micro', 'syslog-facility': 'local0', tag: '{{.ImageName}}/{{.Name}}' }
      const id = await client.start('echo one; echo; sleep 0.1; echo two >&2', syslog(options))
      await client.call('POST', `/containers/${id}/wait`)
      const name = real.engine.containers.list().find((container) => container.id === id)?.name ?? ''
      while (messages.length < 2) await sleep(systemClock, 5)
      const head = (priority: number): string => String.raw`^<${priority}>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d) \S+ bb:1/${name} ${process.pid} bb:1/${name} - `
      assert.match(messages[0] ?? '', new RegExp(`${head(16 * 8 + 6)}one\n$`))
      assert.match(messages[1] ?? '', new RegExp(`${head(16 * 8 + 3)}two\n$`))
      assert.equal(await client.output(id), 'one\n\ntwo\n')
      await client.remove(id)
    } finally {
      server.close()
    }
  })

  test('syslog over TCP: who cannot be reached refuses the start; while a server is away lines wait, and a --rm container is gone only when its last one was sent', async () => {
    const received: string[] = []
    const sockets = new Set<Socket>()
    const server = createServer((socket) => {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('data', (data) => received.push(...data.toString().split('\n').filter((line) => line !== '').map((line) => line.replace(/^.*\]: /, ''))))
    })
    const listen = async (port: number): Promise<number> => {
      server.listen(port, '127.0.0.1')
      await once(server, 'listening')
      return (server.address() as AddressInfo).port
    }
    const close = async (): Promise<void> => {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    }
    const port = await listen(0)
    const host = syslog({ 'syslog-address': `tcp://127.0.0.1:${port}` })
    const id = await client.start('echo a; while [ ! -e /b ]; do sleep 0.02; done; echo b; while [ ! -e /c ]; do sleep 0.02; done; echo c', host)
    while (!received.includes('a')) await sleep(systemClock, 5)
    await close()
    assert.match((await client.run('true', host)).refusal, /failed to initialize logging driver: connect ECONNREFUSED/)
    await client.exec(id, 'touch /b /c')
    await client.call('POST', `/containers/${id}/wait`)
    await listen(port)
    while (!received.includes('c')) await sleep(systemClock, 20)
    // A connection that breaks is noticed at a later line: what was handed to the kernel by then may be lost, order is kept.
    assert.deepEqual(received.filter((line) => line !== 'b'), ['a', 'c'])
    await client.remove(id)
    await client.start('echo last', syslog({ 'syslog-address': `tcp://127.0.0.1:${port}` }, { AutoRemove: true }))
    while (!received.includes('last')) await sleep(systemClock, 5)
    await close()
  })

  test('what means nothing is refused when the container is created, and a disabled cache is not read', async () => {
    const refusal = async (config: object): Promise<string> => (await client.run('true', { LogConfig: config })).refusal
    for (const [options, words] of [
      [{ 'syslog-address': 'http://x' }, 'syslog-address should be in form proto://address, got http://x'], [{ 'syslog-address': 'unix:///nosuch' }, 'stat /nosuch: no such file or directory'], [{ 'syslog-facility': 'nope' }, 'invalid syslog facility'], [{ 'syslog-facility': '24' }, 'invalid syslog facility'],
      [{ 'syslog-format': 'rfc1' }, 'Invalid syslog format'], [{ odd: 'x' }, "unknown log opt 'odd' for syslog log driver"],
    ] as const) assert.equal(await refusal({ Type: 'syslog', Config: options }), words)
    assert.equal(await refusal({ Type: 'journald', Config: { 'max-size': '1m' } }), "unknown log opt 'max-size' for journald log driver")
    assert.match(await refusal({ Type: 'gelf' }), /error looking up logging plugin gelf/)
    const server = createSocket('udp4').bind(0, '127.0.0.1')
    await once(server, 'listening')
    const id = await client.start('echo x', syslog({ 'syslog-address': `udp://127.0.0.1:${server.address().port}`, 'cache-disabled': 'true' }))
    assert.deepEqual(await client.call('GET', `/containers/${id}/logs?stdout=1`), { status: 501, body: { message: 'configured logging driver does not support reading' } })
    await client.remove(id)
    server.close()
  })
})

test('journald gets the fields of dockerd, a value with line feeds behind its length; where it is not there the start is refused', async () => {
  const sent: Buffer[] = []
  const source = { id: 'a'.repeat(64), name: 'web', imageId: `sha256:${'b'.repeat(64)}`, imageName: 'bb:1', effective: { args: ['sh'], env: ['my.var=1'], labels: { _shop: 'x\ny' } }, hostname: 'h' }
  const spec = { driver: 'journald', options: { labels: '_shop', env: 'my.var', tag: 't' } } as const
  const sink = await openJournald({ spec, source, clock: systemClock, sockets: { sendDatagram: async (_path, data) => void (data === undefined ? undefined : sent.push(Buffer.from(data))) } })
  await sink.send({ channel: 'stderr', timeNs: 1_000_000_000n, data: Buffer.from('hello\n') })
  await sink.send({ channel: 'stdout', timeNs: 1_000_000_000n, data: Buffer.from('part') })
  const fields = `CONTAINER_ID=${'a'.repeat(12)}\nCONTAINER_ID_FULL=${'a'.repeat(64)}\nCONTAINER_NAME=web\nCONTAINER_TAG=t\nIMAGE_NAME=bb:1\nSYSLOG_IDENTIFIER=t\nSHOP\n\x03\0\0\0\0\0\0\0x\ny\nMY_VAR=1\n`
  assert.equal(sent[0]?.toString(), `${fields}MESSAGE=hello\nPRIORITY=3\nSYSLOG_TIMESTAMP=1970-01-01T00:00:01.000000000Z\n`)
  assert.equal(sent[1]?.toString(), `${fields}MESSAGE=part\nPRIORITY=6\nSYSLOG_TIMESTAMP=1970-01-01T00:00:01.000000000Z\nCONTAINER_PARTIAL_MESSAGE=true\n`)
  await assert.rejects(openJournald({ spec, source, clock: systemClock, sockets: { sendDatagram: async () => Promise.reject(new Fault('notFound', 'no')) } }), (error) => isFault(error, 'internal') && error.message === 'failed to initialize logging driver: journald is not enabled on this host')
})
