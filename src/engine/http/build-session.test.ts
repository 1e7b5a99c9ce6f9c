/**
 * Builds of a client of BuildKit's kind: Debian's docker CLI 20.10 with DOCKER_BUILDKIT=1 keeps files, secrets and keys and serves them to
 * the engine over its session.
 */
import assert from 'node:assert/strict'
import { chmodSync, closeSync, existsSync, linkSync, mkdirSync, openSync, readdirSync, readFileSync, readlinkSync, statSync, symlinkSync, writeFileSync, rmSync, utimesSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { openKernel } from '#linux/real/kernel.ts'
import { sampleTar } from '#oci/layer/archive-samples.ts'
import { contextFolder, seenIn, until } from '../client-builds.fixture.ts'
import { busyboxMissing, openRealEngine, type RealEngine } from '../real-engine.fixture.ts'

const client = '/usr/bin/docker'
const skip = existsSync(client) ? busyboxMissing : 'no docker CLI 20.10 is installed (Debian: apt-get install docker.io)'

suite('builds with a session', { skip }, () => {
  let real: RealEngine
  before(async () => {
    real = await openRealEngine(await openKernel(), { name: 'bses', subnet: '172.29.116.0/22' })
  })
  after(() => real[Symbol.asyncDispose]())

  interface Outcome {
    readonly exitCode: number
    readonly stdout: string
    readonly stderr: string
  }

  const docker = async (args: readonly string[], { stdin = '', env = {} }: { readonly stdin?: string | Buffer; readonly env?: Readonly<Record<string, string>> } = {}): Promise<Outcome> => {
    const { kernel, root } = real
    const result = await kernel.processes.run([client, ...args], { stdin, timeoutMs: 60_000, env: { DOCKER_HOST: `unix://${join(root, 'd.sock')}`, DOCKER_BUILDKIT: '1', DOCKER_CONFIG: join(root, 'config'), PATH: '/usr/bin:/bin', HOME: root, TMPDIR: root, ...env }, maxOutputBytes: 16 << 20 })
    return { exitCode: result.exitCode ?? -1, stdout: result.stdout.toString(), stderr: result.stderr.toString() }
  }
  const built = async (args: readonly string[], more: Parameters<typeof docker>[1] = {}): Promise<Outcome> => {
    const outcome = await docker(['build', '--progress', 'plain', ...args], more)
    assert.equal(outcome.exitCode, 0, outcome.stderr)
    return outcome
  }
  const folder = (files: Readonly<Record<string, string | Buffer>>): string => contextFolder(real, files)
  const shownIn = (image: string, script: string): Promise<string> => seenIn(real, image, script)
  /** The process that runs a script in a build, once it is there. */
  const commandOf = async (script: string): Promise<string> => {
    let pid = ''
    await until(`a process of ${script}`, async () => {
      pid = (await real.kernel.processes.run(['pgrep', '-n', '-f', `^/bin/sh -c .*${script.replace(/[!.;]/g, '.')}`])).stdout.toString().trim()
      return pid !== ''
    })
    return pid
  }

  test('the context comes file by file: kinds, modes, links, sizes and odd names as they are', async () => {
    const large = Buffer.alloc(9 << 20, 'large ')
    const context = folder({ Dockerfile: 'FROM bb:1\nCOPY . /c/\n', 'a/deep/file': 'deep', empty: '', large, 'größe und mehr': 'name', 'z-last': 'last' })
    for (let index = 0; index < 600; index += 1) writeFileSync(join(context, `many-${index}`), `${index}`)
    symlinkSync('a/deep', join(context, 'link'))
    linkSync(join(context, 'a/deep/file'), join(context, 'hard'))
    chmodSync(join(context, 'z-last'), 0o4711)
    mkdirSync(join(context, 'hollow'), { mode: 0o700 })
    await built(['-t', 'c:1', context])
    const script = `cd /c; cat a/deep/file hard "größe und mehr" z-last; echo; readlink link; stat -c %a z-last hollow; stat -c %s large empty; md5sum < large; cat many-* | wc -c; stat -c %u:%g z-last`
    const many = Array.from({ length: 600 }, (_, index) => `${index}`).join('').length
    const sum = (await real.kernel.processes.run(['md5sum'], { stdin: large })).stdout.toString().trim()
    assert.equal(await shownIn('c:1', script), `deepdeepnamelast\na/deep\n4711\n700\n${large.length}\n0\n${sum}\n${many}\n0:0`)
  })

  test('of a folder that was built before, only what has changed is sent', async () => {
    const context = folder({ Dockerfile: 'FROM bb:1\nCOPY . /c/\n', same: 'sent 1', changed: 'sent 1', gone: 'sent 1', 'a/deep': 'sent 1' })
    linkSync(join(context, 'same'), join(context, 'twin'))
    const time = new Date(1_700_000_000_123)
    for (const name of ['same', 'changed', 'a/deep']) utimesSync(join(context, name), time, time)
    await built(['-t', 'k:1', context])
    // Size and time tell, as in BuildKit: what was written behind them shows that nothing was sent.
    for (const name of ['same', 'changed', 'a/deep']) writeFileSync(join(context, name), 'sent 2')
    for (const name of ['same', 'a/deep']) utimesSync(join(context, name), time, time)
    rmSync(join(context, 'gone'))
    writeFileSync(join(context, 'more'), 'sent 2')
    await built(['-t', 'k:2', '--no-cache', context])
    assert.equal(await shownIn('k:2', 'cd /c; ls; cat same twin changed a/deep more'), 'Dockerfile\na\nchanged\nmore\nsame\ntwin\nsent 1sent 1sent 2sent 1sent 2')
    writeFileSync(join(context, 'same'), 'sent three')
    await built(['-t', 'k:3', context])
    assert.equal(await shownIn('k:3', 'cat /c/same /c/twin /c/changed'), 'sent threesent threesent 2')
    await real.client.bytes('POST', '/build/prune?all=1')
    utimesSync(join(context, 'a/deep'), time, time)
    await built(['-t', 'k:4', '--no-cache', context])
    assert.equal(await shownIn('k:4', 'cat /c/a/deep'), 'sent 2')
  })

  test('what is ignored stays with the client; a Dockerfile may lie elsewhere, with an ignore file of its own', async () => {
    const context = folder({ Dockerfile: 'FROM bb:1\nCOPY . /c/\n', '.dockerignore': '# words\n*.log\n!keep.log\nsecret\n', 'x.log': '', 'keep.log': '', secret: '', file: '' })
    await built(['-t', 'i:1', context])
    assert.equal(await shownIn('i:1', 'ls -A /c'), '.dockerignore\nDockerfile\nfile\nkeep.log')
    const elsewhere = folder({ 'other.Dockerfile': 'FROM bb:1\nCOPY . /d/\n', 'other.Dockerfile.dockerignore': '*\n!file\n' })
    await built(['-t', 'i:2', '-f', join(elsewhere, 'other.Dockerfile'), context])
    assert.equal(await shownIn('i:2', 'ls -A /d'), 'file')
  })

  test('a Dockerfile or a whole archive may come from the input', async () => {
    await built(['-t', 's:1', '-'], { stdin: 'FROM bb:1\nRUN echo here > /here\n' })
    assert.equal(await shownIn('s:1', 'cat /here'), 'here')
    await built(['-t', 's:2', '-'], { stdin: sampleTar([{ path: 'Dockerfile', content: 'FROM bb:1\nCOPY file /file\n' }, { path: 'file', content: 'sent' }]) })
    assert.equal(await shownIn('s:2', 'cat /file'), 'sent')
  })

  test('a secret is there while its command runs, and nowhere afterwards', async () => {
    const context = folder({
      Dockerfile: 'FROM bb:1\nRUN --mount=type=secret,id=one --mount=type=secret,id=two,target=/two,mode=0440,uid=7 cat /run/secrets/one /two > /out; stat -c "%a %u" /run/secrets/one /two >> /out\nRUN --mount=type=secret,id=none test ! -e /run/secrets/none\nRUN --mount=type=secret,id=one,env=ONE echo "$ONE" >> /out; ls /run/secrets >> /out 2>&1 || true\n',
      one: 'first secret\n', two: 'second secret\n',
    })
    await built(['-t', 'sec:1', '--secret', `id=one,src=${join(context, 'one')}`, '--secret', `id=two,src=${join(context, 'two')}`, context])
    assert.equal(await shownIn('sec:1', 'cat /out; ls -A /run 2>/dev/null; ls -A / | grep -c two'), 'first secret\nsecond secret\n400 0\n440 7\nfirst secret\n\nls: /run/secrets: No such file or directory\n0')
    const required = await docker(['build', '--progress', 'plain', '-'], { stdin: 'FROM bb:1\nRUN --mount=type=secret,id=gone,required=true true\n' })
    assert.notEqual(required.exitCode, 0)
    assert.match(required.stderr, /secret gone: not found/)
  })

  test('the client’s agent answers through a socket while the command runs', async () => {
    const path = join(real.root, 'agent.sock')
    // The one question (SSH_AGENTC_REQUEST_IDENTITIES) and the answer that there is none (draft-ietf-sshm-ssh-agent).
    const [question, answer] = [Buffer.from([0, 0, 0, 1, 11]), Buffer.from([0, 0, 0, 5, 12, 0, 0, 0, 0])]
    const agent = createServer((connection) => connection.on('data', (data) => connection.write(question.compare(Buffer.from(data)) === 0 ? answer : 'not understood')))
    agent.listen(path)
    try {
      const context = folder({ Dockerfile: 'FROM bb:1\nRUN --mount=type=ssh test -S "$SSH_AUTH_SOCK" && echo "$SSH_AUTH_SOCK" > /out; while ! test -e /run/buildkit/go; do :; done\nRUN --mount=type=ssh,id=other test -z "$SSH_AUTH_SOCK"\n' })
      const building = built(['-t', 'ssh:1', '--ssh', `default=${path}`, context], { env: { SSH_AUTH_SOCK: path } })
      const container = await commandOf('while ! test -e /run/buildkit/go; do :; done')
      const inside = openSync(`/proc/${container}/root/run/buildkit`, 'r')
      try {
        // Through the descriptor: a socket's path holds 107 bytes.
        const connection = connect(`/proc/self/fd/${inside}/ssh_agent.0`)
        connection.write(question)
        const heard: Buffer[] = []
        for await (const chunk of connection) {
          heard.push(Buffer.from(chunk))
          if (Buffer.concat(heard).length >= answer.length) break
        }
        assert.deepEqual(Buffer.concat(heard), answer)
        // Neither ends by itself: one that never asks, and one that breaks off.
        connect(`/proc/self/fd/${inside}/ssh_agent.0`).on('error', (error) => assert.ok(error))
        const broken = connect(`/proc/self/fd/${inside}/ssh_agent.0`)
        broken.end(question, () => broken.destroy())
        writeFileSync(`/proc/self/fd/${inside}/go`, '')
      } finally {
        closeSync(inside)
      }
      await building
      assert.equal(await shownIn('ssh:1', 'cat /out; ls -A /run/buildkit'), '/run/buildkit/ssh_agent.0\ngo')
    } finally {
      agent.close()
    }
  })

  test('the result goes into a folder or an archive of the client', async () => {
    const dockerfile = 'FROM bb:1 AS b\nRUN mkdir -p /out/deep && echo one > /out/deep/one && ln /out/deep/one /out/two && ln -s deep/one /out/link && : > /out/empty && head -c 3000000 /dev/zero > /out/large && chmod 4750 /out/two\nFROM scratch\nCOPY --from=b /out /\n'
    const target = join(real.root, 'result')
    await built(['--output', target, '-'], { stdin: dockerfile })
    assert.deepEqual(readdirSync(target).toSorted(), ['deep', 'empty', 'large', 'link', 'two'])
    assert.equal(readFileSync(join(target, 'deep/one'), 'utf8'), 'one\n')
    assert.equal(readlinkSync(join(target, 'link')), 'deep/one')
    assert.equal(statSync(join(target, 'two')).mode & 0o7777, 0o4750)
    assert.equal(statSync(join(target, 'two')).ino, statSync(join(target, 'deep/one')).ino)
    assert.deepEqual([statSync(join(target, 'large')).size, statSync(join(target, 'empty')).size], [3_000_000, 0])
    await built(['--output', `type=tar,dest=${join(real.root, 'result.tar')}`, '-'], { stdin: dockerfile })
    const listed = await real.kernel.processes.run(['tar', '-tf', join(real.root, 'result.tar')])
    assert.deepEqual(listed.stdout.toString().trim().split('\n').map((name) => name.replace(/^\.?\//, '')).filter((name) => name !== '').toSorted(), ['deep/', 'deep/one', 'empty', 'large', 'link', 'two'])
    const odd = await docker(['build', '--progress', 'plain', '--output', 'type=odd', '-'], { stdin: dockerfile })
    assert.match(odd.stderr, /output of type 'odd' is not supported/)
  })

  test('a failing command, a Dockerfile that is not there and a session that never comes are told', async () => {
    const failing = await docker(['build', '--progress', 'plain', '-'], { stdin: 'FROM bb:1\nRUN echo to be seen; exit 7\n' })
    assert.notEqual(failing.exitCode, 0)
    assert.match(failing.stderr, /to be seen[^]*returned a non-zero code: 7/)
    const missing = await docker(['build', '--progress', 'plain', '-f', 'absent', folder({ file: '' })])
    assert.match(missing.stderr, /absent/)
    assert.notEqual(missing.exitCode, 0)
    const { status, bytes } = await real.client.bytes('POST', '/build?version=2&remote=client-session&session=nobody')
    assert.equal(status, 404, bytes.toString())
    assert.match(bytes.toString(), /no active session for nobody/)
  })

  test('a client that is ended takes its build along', async () => {
    const { kernel, root } = real
    const aborted = new AbortController()
    const running = kernel.processes.run([client, 'build', '-'], { stdin: 'FROM bb:1\nRUN touch /begun; sleep 1000\n', signal: aborted.signal, env: { DOCKER_HOST: `unix://${join(root, 'd.sock')}`, DOCKER_BUILDKIT: '1', PATH: '/usr/bin:/bin', HOME: root, TMPDIR: root } })
    const isThere = async (): Promise<boolean> => (await kernel.processes.run(['pgrep', '-f', '^sleep 1000$'])).exitCode === 0
    await until('the command', isThere)
    aborted.abort()
    await assert.rejects(running)
    await until('the end of the command', async () => !(await isThere()))
  })

  test('nothing of the builds is left', async () => {
    await until('an empty folder for work', () => readdirSync(join(real.root, 's/build/work')).length === 0)
    assert.deepEqual((await real.kernel.mounts.table(join(real.root, 's/build'))).length, 0)
  })
})
