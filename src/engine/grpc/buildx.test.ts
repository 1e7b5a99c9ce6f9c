/**
 * buildx's docker driver: the CLI's plug-in builds through `POST /grpc`, its files, secrets and keys come over its session. The binary is
 * named by BUILDX.
 */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { openKernel } from '#linux/real/kernel.ts'
import { sampleTar } from '#oci/layer/archive-samples.ts'
import { contextFolder, seenIn, until } from '../client-builds.fixture.ts'
import { busyboxMissing, openRealEngine, type RealEngine } from '../real-engine.fixture.ts'

const buildx = process.env['BUILDX'] ?? ''
const client = '/usr/local/bin/docker'
const skip = buildx === '' ? 'BUILDX names no buildx (https://github.com/docker/buildx)' : !existsSync(client) ? `no docker CLI at ${client}` : busyboxMissing

suite('buildx', { skip }, () => {
  let real: RealEngine
  before(async () => {
    real = await openRealEngine(await openKernel(), { name: 'bbdx', subnet: '172.29.124.0/22' })
    mkdirSync(join(real.root, 'config/cli-plugins'), { recursive: true })
    // One built from source does not say its version, which compose asks for.
    const plugin = `#!/bin/sh\nif [ "$1" = docker-cli-plugin-metadata ]; then exec echo '{"SchemaVersion":"0.1.0","Vendor":"Docker Inc.","Version":"v0.36.1"}'; fi\nexec ${buildx} "$@"\n`
    writeFileSync(join(real.root, 'config/cli-plugins/docker-buildx'), plugin, { mode: 0o755 })
  })
  after(() => real[Symbol.asyncDispose]())

  interface Outcome {
    readonly exitCode: number
    readonly stdout: string
    readonly stderr: string
  }

  const docker = async (args: readonly string[], { stdin = '', env = {}, signal }: { readonly stdin?: string | Buffer; readonly env?: Readonly<Record<string, string>>; readonly signal?: AbortSignal } = {}): Promise<Outcome> => {
    const { kernel, root } = real
    const result = await kernel.processes.run([client, ...args], {
      stdin, timeoutMs: 60_000, maxOutputBytes: 16 << 20, ...(signal === undefined ? {} : { signal }),
      env: { DOCKER_HOST: `unix://${join(root, 'd.sock')}`, DOCKER_CONFIG: join(root, 'config'), BUILDX_CONFIG: join(root, 'bx'), PATH: '/usr/bin:/bin', HOME: root, TMPDIR: root, ...env },
    })
    return { exitCode: result.exitCode ?? -1, stdout: result.stdout.toString(), stderr: result.stderr.toString() }
  }
  const built = async (args: readonly string[], more: Parameters<typeof docker>[1] = {}): Promise<Outcome> => {
    const outcome = await docker(['buildx', 'build', '--progress', 'plain', ...args], more)
    assert.equal(outcome.exitCode, 0, outcome.stderr)
    return outcome
  }
  const folder = (files: Readonly<Record<string, string | Buffer>>): string => contextFolder(real, files)
  const shownIn = (image: string, script: string): Promise<string> => seenIn(real, image, script)
  const imageIds = async (): Promise<readonly string[]> => (await real.engine.images.list({ all: true })).map(({ id }) => id).toSorted()
  const jsonFile = (path: string): Readonly<Record<string, unknown>> => {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'))
    assert.ok(typeof value === 'object' && value !== null)
    return { ...value }
  }

  test('an image comes into the store under its names; its id goes into the files that ask for it', async () => {
    const context = folder({ Dockerfile: 'FROM bb:1 AS base\nARG WHO\nLABEL a=b\nRUN echo "hello $WHO"; cat /etc/hosts | grep six > /hosts; ulimit -n > /files\nFROM base\nCOPY file /f\n', file: 'content\n' })
    const files = join(real.root, 'facts')
    mkdirSync(files)
    const { stderr } = await built(['-t', 'x:1', '-t', 'localhost:5000/y', '--build-arg', 'WHO=you', '--label', 'c=d', '--add-host', 'six:6.6.6.6', '--ulimit', 'nofile=300:400', '--iidfile', join(files, 'id'), '--metadata-file', join(files, 'meta'), context])
    assert.match(stderr, /#\d+ \[internal\] load build definition from Dockerfile\n#\d+ transferring dockerfile: \d+B done\n/)
    assert.match(stderr, /\[base 2\/2\] RUN echo[^]*hello you/)
    assert.match(stderr, /naming to docker\.io\/library\/x:1 done/)
    const image = await real.engine.images.resolve('x:1')
    assert.deepEqual([image.repoTags, image.config.config?.Labels], [['localhost:5000/y:latest', 'x:1'], { a: 'b', c: 'd' }])
    assert.equal(readFileSync(join(files, 'id'), 'utf8'), image.id)
    const meta = jsonFile(join(files, 'meta'))
    assert.deepEqual([meta['containerimage.digest'], meta['image.name']], [image.id, 'docker.io/library/x:1,localhost:5000/y:latest'])
    assert.equal(await shownIn('x:1', 'cat /f; cut -f1 /hosts; cat /files'), 'content\n6.6.6.6\n300')
  })

  test('plain `docker build` goes the same way; a Dockerfile or an archive may come from the input', async () => {
    const { exitCode, stderr } = await docker(['build', '--progress', 'plain', '-t', 'in:1', '-'], { stdin: 'FROM bb:1\nRUN echo here > /here\n' })
    assert.equal(exitCode, 0, stderr)
    assert.match(stderr, /building with "default" instance using docker driver/)
    assert.equal(await shownIn('in:1', 'cat /here'), 'here')
    await built(['-t', 'in:2', '-'], { stdin: sampleTar([{ path: 'Dockerfile', content: 'FROM bb:1\nCOPY file /file\n' }, { path: 'file', content: 'sent' }]) })
    assert.equal(await shownIn('in:2', 'cat /file'), 'sent')
    const quiet = await docker(['build', '-q', '-'], { stdin: 'FROM bb:1\nRUN echo here > /here\n' })
    assert.equal(quiet.stdout.trim(), (await real.engine.images.resolve('in:1')).id)
  })

  test('a failure shows the step, its output and the lines of the Dockerfile', async () => {
    const failing = await docker(['buildx', 'build', '-'], { stdin: 'FROM bb:1\nRUN echo seen; exit 7\nRUN true\n' })
    assert.equal(failing.exitCode, 1)
    assert.match(failing.stderr, / > \[2\/3\] RUN echo seen; exit 7:\n[\d.]+ seen\n------\nDockerfile:2\n-+\n {3}1 \| {5}FROM bb:1\n {3}2 \| >>> RUN echo seen; exit 7\n/)
    assert.match(failing.stderr, /ERROR: failed to build: failed to solve: process "\/bin\/sh -c echo seen; exit 7" did not complete successfully: exit code: 7\n/)
    const wrong = await docker(['buildx', 'build', '-'], { stdin: 'FROM bb:1\nRUM true\n' })
    assert.match(wrong.stderr, / 2 \| >>> RUM true\n[^]*failed to solve: .*unknown instruction: RUM/)
    const missing = await docker(['buildx', 'build', '-f', join(real.root, 'absent'), folder({ file: '' })])
    assert.match(missing.stderr, /failed to read dockerfile: open absent: no such file or directory/)
    const absent = await docker(['buildx', 'build', '--target', 'absent', '-'], { stdin: 'FROM bb:1\n' })
    assert.match(absent.stderr, /absent/)
    assert.deepEqual([wrong.exitCode, missing.exitCode, absent.exitCode], [1, 1, 1])
  })

  test('secrets are lent; contexts have names', async () => {
    const other = folder({ x: 'named folder\n', '.dockerignore': 'ignored\n', ignored: '' })
    const context = folder({
      Dockerfile: 'FROM alpine\nCOPY --from=other . /other/\nRUN --mount=type=secret,id=one cat /run/secrets/one > /out\nRUN --mount=type=secret,id=two,env=TWO echo "$TWO" >> /out\n',
      one: 'first\n',
    })
    await built(['-t', 'n:1', '--secret', `id=one,src=${join(context, 'one')}`, '--secret', 'id=two,env=SECRET', '--build-context', `other=${other}`, '--build-context', 'alpine=docker-image://bb:1', context], { env: { SECRET: 'second' } })
    assert.equal(await shownIn('n:1', 'cat /out /other/x; ls -A /other'), 'first\nsecond\nnamed folder\n.dockerignore\nx')
  })

  test('a context may be an address, which clients look into for policies before', async () => {
    const archive = sampleTar([{ path: 'Dockerfile', content: 'FROM bb:1\nCOPY f /f\n' }, { path: 'f', content: 'fetched' }])
    const server = createServer((_request, response) => response.end(archive))
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
    const address = server.address()
    assert.ok(typeof address === 'object' && address !== null)
    try {
      await built(['-t', 'url:1', `http://127.0.0.1:${address.port}/context.tar`])
      assert.equal(await shownIn('url:1', 'cat /f'), 'fetched')
    } finally {
      server.close()
    }
  })

  test('results go into folders and archives of the client, several from one build', async () => {
    const before = await imageIds()
    const out = join(real.root, 'out')
    const context = folder({ Dockerfile: 'FROM scratch\nCOPY f /deep/f\n', f: 'exported\n' })
    await built(['--output', `type=local,dest=${out}/local`, '--output', `type=tar,dest=${out}/root.tar`, '--output', `type=docker,name=out:1,dest=${out}/docker.tar`, '--output', `type=oci,dest=${out}/oci.tar`, '--metadata-file', `${out}.json`, context])
    assert.equal(readFileSync(join(out, 'local/deep/f'), 'utf8'), 'exported\n')
    const list = async (name: string): Promise<string> => (await real.kernel.processes.run(['tar', '-tf', join(out, name)])).stdout.toString()
    assert.match(await list('root.tar'), /deep\/f/)
    assert.match(await list('oci.tar'), /index\.json[^]*oci-layout/)
    assert.deepEqual(await imageIds(), before, 'no image is left of what only went into archives')
    const loaded = await docker(['load', '-i', join(out, 'docker.tar')])
    assert.match(loaded.stdout, /Loaded image: out:1/)
    assert.equal((await real.engine.images.resolve('out:1')).id, jsonFile(`${out}.json`)['containerimage.config.digest'])
    await built(['--output', 'type=cacheonly', context])
  })

  test('targets of one file share a session and are each other’s contexts', async () => {
    const context = folder({
      'docker-bake.hcl': `group "default" { targets = ["top", "other"] }
target "bottom" { dockerfile-inline = "FROM bb:1\\nCOPY f /bottom\\n" }
target "top" {
  dockerfile-inline = "FROM base\\nCOPY f /top\\n"
  contexts = { base = "target:bottom" }
  tags = ["bake:top"]
}
target "other" {
  dockerfile-inline = "FROM bb:1\\nCOPY --from=b /bottom /other\\n"
  contexts = { b = "target:bottom" }
  tags = ["bake:other"]
}`,
      f: 'baked\n',
    })
    const { exitCode, stderr } = await docker(['buildx', 'bake', '--progress', 'plain', '-f', join(context, 'docker-bake.hcl'), '--set', `*.context=${context}`], { env: { BUILDX_BAKE_ENTITLEMENTS_FS: '0' } })
    assert.equal(exitCode, 0, stderr)
    assert.equal(await shownIn('bake:top', 'cat /bottom /top'), 'baked\nbaked')
    assert.equal(await shownIn('bake:other', 'cat /other'), 'baked')
  })

  test('a Dockerfile is checked, and its arguments and targets are shown, without a build', async () => {
    const context = folder({ Dockerfile: '# what it is for\nFROM bb:1 AS Base\nARG ONE=1\nRUN --mount=type=secret,id=token true\nFROM base AS last\nCMD echo hi\n' })
    const checked = await docker(['buildx', 'build', '--check', context])
    assert.equal(checked.exitCode, 1, checked.stdout)
    assert.match(checked.stdout + checked.stderr, /WARNING: StageNameCasing - https[^]*Dockerfile:2\n-+\n[^]*>>> FROM bb:1 AS Base/)
    assert.match(checked.stdout + checked.stderr, /JSONArgsRecommended/)
    assert.match((await docker(['buildx', 'build', '--call', 'outline', '--target', 'base', context])).stdout, /ONE +1[^]*token/)
    assert.match((await docker(['buildx', 'build', '--call', 'targets', context])).stdout, /base[^]*last \(default\)/)
    const json: unknown = JSON.parse((await docker(['buildx', 'build', '--call', 'targets,format=json', context])).stdout)
    assert.ok(typeof json === 'object' && json !== null && 'targets' in json)
    const warned = await built([context])
    assert.match(warned.stderr, /2 warnings found [^]*- StageNameCasing: [^]*\(line 2\)/)
    const wrong = await docker(['buildx', 'build', '--check', '-'], { stdin: 'FROM bb:1\nRUM x\n' })
    assert.match(wrong.stdout + wrong.stderr, /unknown instruction: RUM/)
  })

  const registry = '/usr/bin/docker-registry'
  const noRegistry = existsSync(registry) ? false : 'no docker-registry is installed'
  const port = 5017
  const get = (path: string): Promise<Response | undefined> => fetch(`http://127.0.0.1:${port}/v2/${path}`).catch((error: unknown) => (error instanceof TypeError ? undefined : Promise.reject(error)))

  const withRegistry = async (use: () => Promise<void>): Promise<void> => {
    const config = join(real.root, 'registry.yml')
    writeFileSync(config, `version: 0.1\nstorage: { filesystem: { rootdirectory: ${real.root}/registry } }\nhttp: { addr: "127.0.0.1:${port}" }\n`)
    const ended = new AbortController()
    const serving = real.kernel.processes.run([registry, 'serve', config], { signal: ended.signal, timeoutMs: 60_000 })
    try {
      await until('the registry', async () => (await get(''))?.status === 200)
      await use()
    } finally {
      ended.abort()
      await serving.catch((error: unknown) => assert.ok(error))
    }
  }

  test('an image is pushed by its names; a cache goes to a registry and to a folder, and comes from there', { skip: noRegistry }, () =>
    withRegistry(async () => {
      const name = `127.0.0.1:${port}/pushed`
      const cache = join(real.root, 'cache')
      const dockerfile = 'FROM bb:1\nRUN date +%N > /when\n'
      const meta = join(real.root, 'pushed.json')
      await built(['-t', `${name}:1`, '--push', '--metadata-file', meta, '--cache-to', `type=registry,ref=${name}:cache,mode=max`, '--cache-to', `type=local,dest=${cache}`, '-'], { stdin: dockerfile })
      const tags = (await (await get('pushed/tags/list'))?.text()) ?? ''
      assert.match(tags, /"1"/)
      assert.match(tags, /"cache"/)
      const manifest = await fetch(`http://127.0.0.1:${port}/v2/pushed/manifests/${String(jsonFile(meta)['containerimage.digest'])}`, { headers: { accept: 'application/vnd.oci.image.manifest.v1+json' } })
      assert.equal(manifest.status, 200, 'the digest that is told is the registry’s')
      const when = await shownIn(`${name}:1`, 'cat /when')
      for (const source of [`type=registry,ref=${name}:cache`, `type=local,src=${cache}`]) {
        await real.engine.images.remove(`${name}:1`)
        await docker(['buildx', 'prune', '-af'])
        const { stderr } = await built(['-t', `${name}:1`, '--cache-from', source, '-'], { stdin: dockerfile })
        assert.match(stderr, /#(\d+) \[2\/2\] RUN date[^]*#\1 CACHED/, source)
        assert.equal(await shownIn(`${name}:1`, 'cat /when'), when, source)
      }
    }),
  )

  test('several platforms are pushed as one index, which other tools can look into, and stages are built upon', { skip: noRegistry }, () =>
    withRegistry(async () => {
      const name = `127.0.0.1:${port}/several:1`
      const context = folder({ Dockerfile: 'FROM scratch\nARG TARGETARCH\nCOPY f /for/$TARGETARCH\n', f: 'pushed\n' })
      const meta = join(real.root, 'several.json')
      await built(['-t', name, '--platform', 'linux/amd64,linux/arm64', '--provenance', 'mode=max', '--annotation', 'index:made=here', '--metadata-file', meta, '--push', context])
      const { stdout } = await docker(['buildx', 'imagetools', 'inspect', name])
      assert.match(stdout, new RegExp(`MediaType: application/vnd.oci.image.index.v1\\+json\nDigest: +${String(jsonFile(meta)['containerimage.digest'])}`))
      assert.match(stdout, /Platform: +linux\/amd64[^]*Platform: +linux\/arm64[^]*Platform: +unknown\/unknown[^]*vnd\.docker\.reference\.type: +attestation-manifest/)
      const predicate = await docker(['buildx', 'imagetools', 'inspect', name, '--format', '{{json (index .Provenance "linux/arm64").SLSA.buildDefinition.externalParameters.request.frontend}}'])
      assert.equal(predicate.stdout.trim(), '"dockerfile.v0"', predicate.stderr)
      // From here, and from the registry: the base is that of the platform.
      const next = folder({ Dockerfile: `FROM ${name}\nCOPY g /g\n`, g: '' })
      for (const isHere of [true, false]) {
        const out = join(real.root, `several-${isHere}`)
        if (!isHere) await real.engine.images.remove(name)
        await built(['--platform', 'linux/arm64,linux/amd64', '--no-cache', '-o', out, next])
        assert.deepEqual([readdirSync(join(out, 'linux_arm64/for')), readdirSync(join(out, 'linux_amd64/for'))], [['arm64'], ['amd64']])
      }
    }),
  )

  test('several platforms can be loaded, saved, and run by the digest that was told', async () => {
    const id = join(real.root, 'several.id')
    const context = folder({ Dockerfile: 'FROM --platform=$BUILDPLATFORM bb:1 AS b\nFROM scratch\nARG TARGETARCH\nCOPY --from=b / /\nCOPY f /for/$TARGETARCH\n', f: '' })
    await built(['-t', 'loaded:1', '--platform', 'linux/amd64,linux/arm64', '--load', '--iidfile', id, context])
    for (const image of ['loaded:1', readFileSync(id, 'utf8')]) assert.equal(await shownIn(image, 'ls /for'), 'amd64')
    const archive = join(real.root, 'loaded.tar')
    assert.equal((await docker(['save', '-o', archive, 'loaded:1'])).exitCode, 0)
    const list = (await real.kernel.processes.run(['tar', '-xOf', archive, 'index.json'])).stdout.toString()
    assert.ok(list.includes(readFileSync(id, 'utf8')), list)
  })

  test('targets for several platforms are each other’s contexts, each for its own', async () => {
    const out = join(real.root, 'bake-several')
    const context = folder({
      'docker-bake.hcl': `target "bottom" {
  dockerfile-inline = "FROM scratch\nARG TARGETARCH\nCOPY f /for/$TARGETARCH\n"
  platforms = ["linux/amd64", "linux/arm64"]
}
target "default" {
  dockerfile-inline = "FROM base\nCOPY f /top\n"
  contexts = { base = "target:bottom" }
  platforms = ["linux/amd64", "linux/arm64"]
  output = ["${out}"]
}
`.replaceAll('\nARG', '\\nARG').replaceAll('\nCOPY', '\\nCOPY').replaceAll('\n"', '\\n"'),
      f: 'baked\n',
    })
    const baked = await docker(['buildx', 'bake', '--progress', 'plain', '--allow', 'fs=*', '-f', join(context, 'docker-bake.hcl'), '--set', `*.context=${context}`])
    assert.equal(baked.exitCode, 0, baked.stderr)
    assert.deepEqual([readdirSync(join(out, 'linux_arm64/for')), readdirSync(join(out, 'linux_amd64/for'))], [['arm64'], ['amd64']])
  })

  const compose = process.env['COMPOSE_V2']
  test('compose builds its services by bake', { skip: compose === undefined ? 'COMPOSE_V2 names no docker-compose' : false }, async () => {
    const context = folder({
      'compose.yaml': 'name: grpc\nservices:\n  a: { build: { context: ., dockerfile_inline: "FROM bb:1\\nCOPY f /a\\n" } }\n  b: { build: { context: ., dockerfile_inline: "FROM bb:1\\nCOPY f /b\\n", tags: ["grpc:b"] } }\n',
      f: 'composed\n',
    })
    const { kernel, root } = real
    const result = await kernel.processes.run([compose ?? '', '--progress', 'plain', '-f', join(context, 'compose.yaml'), 'build'], { timeoutMs: 60_000, maxOutputBytes: 16 << 20, env: { DOCKER_HOST: `unix://${join(root, 'd.sock')}`, DOCKER_CONFIG: join(root, 'config'), BUILDX_CONFIG: join(root, 'bx'), PATH: '/usr/local/bin:/usr/bin:/bin', HOME: root, TMPDIR: root, COMPOSE_BAKE: 'true' } })
    assert.equal(result.exitCode, 0, result.stderr.toString())
    assert.equal(await shownIn('grpc-a', 'cat /a'), 'composed')
    assert.equal(await shownIn('grpc:b', 'cat /b'), 'composed')
  })

  test('many builds at once', async () => {
    const outcomes = await Promise.all(Array.from({ length: 6 }, (_, index) => docker(['buildx', 'build', '--progress', 'plain', '-t', `many:${index}`, '-'], { stdin: `FROM bb:1\nRUN echo ${index} > /n\n` })))
    assert.deepEqual(outcomes.map(({ exitCode }) => exitCode), [0, 0, 0, 0, 0, 0], outcomes.map(({ stderr }) => stderr).join('\n'))
    assert.equal(await shownIn('many:4', 'cat /n'), '4')
  })

  test('a client that is ended takes its build along', async () => {
    const aborted = new AbortController()
    const running = docker(['buildx', 'build', '-'], { stdin: 'FROM bb:1\nRUN touch /begun; sleep 1001\n', signal: aborted.signal })
    const isThere = async (): Promise<boolean> => (await real.kernel.processes.run(['pgrep', '-f', '^sleep 1001$'])).exitCode === 0
    await until('the command', isThere)
    aborted.abort()
    await assert.rejects(running)
    await until('the end of the command', async () => !(await isThere()))
  })

  test('the builder and its cache are shown, filtered and pruned', async () => {
    await built(['-t', 'du:1', '-'], { stdin: 'FROM bb:1\nRUN echo cached > /cached\n' })
    assert.match((await docker(['buildx', 'ls'])).stdout, /default\* +docker[^]*running +\S+ +linux\//)
    assert.match((await docker(['buildx', 'inspect'])).stdout, /Status: +running\nBuildKit version: +\S+\nPlatforms: +linux\//)
    const all = await docker(['buildx', 'du', '--format', '{{.ID}} {{.Description}}'])
    assert.match(all.stdout, /\S+ RUN .*echo cached/)
    const none = await docker(['buildx', 'du', '--filter', 'description=nothing', '--format', '{{.ID}}'])
    assert.equal(none.stdout, '', none.stderr)
    const wrong = await docker(['buildx', 'du', '--filter', 'odd=1'])
    assert.match(wrong.stderr, /invalid filter odd=/)
    const history = await docker(['buildx', 'history', 'ls'])
    assert.equal(history.exitCode, 0, history.stderr)
    await real.engine.images.remove('du:1')
    const pruned = await docker(['buildx', 'prune', '-f'])
    assert.match(pruned.stdout, /Total:\s+\S+B/)
    assert.match((await docker(['buildx', 'prune', '-af'])).stdout, /Total/)
  })

  test('nothing of the builds is left', async () => {
    await until('an empty folder for work', () => readdirSync(join(real.root, 's/build/work')).length === 0)
    assert.deepEqual((await real.kernel.mounts.table(join(real.root, 's/build'))).length, 0)
  })
})
