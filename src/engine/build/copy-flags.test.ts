/** The flags of COPY and ADD, and what ADD fetches: from a web server and from git repositories. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFile, mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { isFault } from '#base/fault.ts'
import type { Processes } from '#linux/contract/processes.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { sampleTar, type Sample } from '#oci/layer/archive-samples.ts'
import type { NamedContext } from '../contract/builds.ts'
import type { BuildRequest } from '../http/backend.ts'
import { openBuilder } from './builder.ts'
import { buildTests, shellFiles, withShell } from './builder.fixture.ts'
import { parseMode } from './dockerfile/chmod.ts'
import { parseGitReference } from './remote/git-reference.ts'

const { build, treeOf, fileOf, opened } = buildTests('flags', openKernel, serveFiles)

const tree: readonly Sample[] = [
  { path: 'src', type: 'directory', mode: 0o750 },
  { path: 'src/a.txt', content: 'a' },
  { path: 'src/x', type: 'directory' },
  { path: 'src/x/b.txt', content: 'b' },
  { path: 'src/x/c.md', content: 'c', mode: 0o600 },
  { path: 'src/x/y', type: 'directory' },
  { path: 'src/x/y/d.txt', content: 'd' },
]

test('--parents keeps the folders above, from a pivot on, and ** crosses them', async () => {
  const { image } = await build('FROM scratch AS base\nCOPY --parents src/x/b.txt /one/\nCOPY --parents src/./x/*.md /two/\nCOPY --parents ./src/**/*.txt /three/\nFROM scratch\nCOPY --from=base --parents /three/src/./x /four/\n', tree)
  assert.deepEqual(await treeOf(image), ['d 755 0:0 ./four', 'd 755 0:0 ./four/x', 'f 644 0:0 ./four/x/b.txt', 'd 755 0:0 ./four/x/y', 'f 644 0:0 ./four/x/y/d.txt'])
  const { image: base } = await build('FROM scratch\nCOPY --parents src/x/b.txt /one/\nCOPY --parents src/./x/*.md /two/\nCOPY --parents ./src/**/*.txt /three/\n', tree)
  assert.deepEqual((await treeOf(base)).map((line) => line.split(' ')[3]), ['./one', './one/src', './one/src/x', './one/src/x/b.txt', './three', './three/src', './three/src/a.txt', './three/src/x', './three/src/x/b.txt', './three/src/x/y', './three/src/x/y/d.txt', './two', './two/x', './two/x/c.md'])
  await assert.rejects(build('FROM scratch\nCOPY --parents src/nope /\n', tree), /^Fault: Dockerfile:2: COPY failed: file not found in build context/)
})

test('--exclude leaves out what it names, by paths below the source', async () => {
  const { image } = await build('FROM scratch\nCOPY --exclude=**/*.txt --exclude=x/y src /all/\nCOPY --exclude=*.md src/x/* /flat/\n', tree)
  assert.deepEqual((await treeOf(image)).map((line) => line.split(' ')[3]), ['./all', './all/x', './all/x/c.md', './flat', './flat/b.txt', './flat/d.txt'])
})

test('a pattern that matches nothing copies nothing; a plain name that is not there is refused', async () => {
  const { image } = await build('FROM scratch\nCOPY src/a.txt none* /d/\n', tree)
  assert.deepEqual(await treeOf(image), ['d 755 0:0 ./d', 'f 644 0:0 ./d/a.txt'])
})

test('--chmod takes symbolic modes', async () => {
  const { image } = await build('FROM scratch\nCOPY --chmod=u=rwX,go=rX src /d/\n', tree)
  assert.deepEqual(await treeOf(image), ['d 755 0:0 ./d', 'f 644 0:0 ./d/a.txt', 'd 755 0:0 ./d/x', 'f 644 0:0 ./d/x/b.txt', 'f 644 0:0 ./d/x/c.md', 'd 755 0:0 ./d/x/y', 'f 644 0:0 ./d/x/y/d.txt'])
  const changed = (text: string, mode: number, isFolder = false): string | undefined => parseMode(text)?.(mode, isFolder).toString(8)
  assert.deepEqual([changed('a+x', 0o644), changed('go-rwx', 0o777), changed('g=u', 0o700), changed('+X', 0o644), changed('+X', 0o644, true), changed('u+s,g+s,+t', 0o755), changed('u=rw,go=', 0o4755), changed('2755', 0)], ['755', '700', '770', '644', '755', '7755', '600', '2755'])
  for (const bad of ['', 'u', 'rwx', 'u=rw go=r', '88', '77777', 'u=z']) assert.equal(parseMode(bad), undefined, bad)
  await assert.rejects(build('FROM scratch\nCOPY --chmod=what src /d/\n', tree), /Dockerfile:2: invalid chmod parameter: 'what'/)
})

test('a linked copy is the same layer on every base, and is made once', async () => {
  const dockerfile = (below: string): string => `FROM scratch\nCOPY <<${below} /\ntext\n${below}\nCOPY --link src /linked/\n`
  const first = await build(dockerfile('one'), tree)
  const second = await build(dockerfile('two'), tree)
  assert.equal(first.image.config.rootfs.diff_ids[1], second.image.config.rootfs.diff_ids[1])
  assert.match(second.output, /Step 3\/3 : COPY --link src \/linked\/\n ---> Using cache/)
  assert.ok((await treeOf(second.image)).includes('f 644 0:0 ./linked/x/b.txt'))
  await assert.rejects(build('FROM scratch\nCOPY --link --chown=app src /d/\n', tree), /Dockerfile:2: --link with --chown=app: names need/)
})

test('RUN lends writable files, caches with rights and contents, and expands variables in mounts', async () => {
  const dockerfile =
    `${withShell}RUN busybox mkdir /seed && echo seed > /seed/f\nFROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\nARG DIR=/lent\nWORKDIR /w\n` +
    'RUN --mount=type=bind,source=src,target=$DIR,rw --mount=type=bind,from=0,source=/seed,target=rel,rw --mount=type=cache,target=/c,uid=7,gid=8,mode=700,sharing=locked --mount=type=cache,target=/filled,from=0,source=/seed,sharing=private --mount=type=tmpfs,target=/t,size=1m ' +
    "echo w > /lent/new && echo w > rel/f && busybox stat -c '%a %u:%g' /c > /seen && busybox cat /filled/f rel/f /lent/a.txt >> /seen\n"
  const { image } = await build(dockerfile, [...shellFiles, ...tree])
  assert.equal(await fileOf(image, 'seen'), '700 7:8\nseed\nw\na')
  assert.deepEqual(await treeOf(image), ['f 644 0:0 ./seen', 'd 755 0:0 ./w'])
})

test('what a mount or a RUN may not have is refused with its line', async () => {
  const refused = (line: string, pattern: RegExp): Promise<void> => assert.rejects(build(`FROM scratch\n${line} true\n`, [], {}), (error) => isFault(error, 'invalidArgument') && pattern.test(error.message), line)
  await refused('RUN --mount=type=tmpfs,target=/t,uid=1', /^Dockerfile:2: .*uid is not for mounts of type tmpfs/)
  await refused('RUN --mount=type=bind,target=/', /^Dockerfile:2: .*invalid mount target "\/"/)
  await refused('RUN --mount=type=bnd,target=/t', /did you mean bind\?/)
  await refused('RUN --mount=target=/t,from=$X', /'from' doesn't support variable expansion/)
  await refused('RUN --mount=type=secret,id=a,source=b', /both source and id can't be set/)
  await refused('RUN --security=insecure', /^Dockerfile:2: RUN --security=insecure needs the entitlement security.insecure/)
  await refused('RUN --device=vendor.com/gpu,required', /this engine offers no CDI devices/)
})

// ---- what is fetched -------------------------------------------------------------------------------------------------

let origin: string
const asked: string[] = []
const archive = gzipSync(sampleTar([{ path: 'in', type: 'directory' }, { path: 'in/side', content: 'packed' }]))
const repositories = (): string => join(opened().folder, 'repositories')

/** What the token `right` makes. */
const authorization = `basic ${Buffer.from('x-access-token:right').toString('base64')}`
const authorizations: (string | undefined)[] = []

async function serveFiles(): Promise<() => Promise<void>> {
  const server = createServer((request, response) => {
    asked.push(request.url ?? '')
    const [path = ''] = (request.url ?? '').split('?')
    if (path === '/plain/file.txt') return void response.writeHead(200, { 'Last-Modified': 'Tue, 01 Feb 2022 03:04:05 GMT', ETag: '"v1"' }).end('fetched')
    if (path === '/archive.tar.gz') return void response.end(archive)
    if (path === '/Dockerfile') return void response.end('FROM scratch\nCOPY <<f /f\nfrom a url\nf\n')
    if (path === '/context.tar') return void response.end(sampleTar([{ path: 'Dockerfile', content: 'FROM scratch\nCOPY in.txt /\n' }, { path: 'in.txt', content: 'ctx' }]))
    if (path === '/huge') return void response.writeHead(200, { 'Content-Length': String(2 ** 50) }).end()
    const isPrivate = path.startsWith('/private/')
    if (isPrivate) authorizations.push(request.headers.authorization)
    if (isPrivate && request.headers.authorization !== authorization) return void response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="git"' }).end()
    readFile(join(repositories(), path.replace(/^\/private/, ''))).then((content) => response.end(content), () => response.writeHead(404).end())
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  await mkdir(repositories())
  const work = join(repositories(), 'work')
  const git = async (...args: string[]): Promise<void> => {
    const { exitCode, stderr } = await opened().kernel.processes.run(['git', '-c', 'user.name=t', '-c', 'user.email=t@example.com', ...args], { cwd: work })
    assert.equal(exitCode, 0, stderr.toString())
  }
  await mkdir(join(work, 'folder'), { recursive: true })
  await writeFile(join(work, 'top'), 'one')
  await writeFile(join(work, 'folder/inner'), 'inner')
  await writeFile(join(work, 'folder/Dockerfile'), 'FROM scratch\nCOPY inner /\n')
  await git('init', '--quiet', '--initial-branch=main')
  await git('add', '.')
  await git('commit', '--quiet', '-m', 'one')
  await git('tag', 'v1')
  await writeFile(join(work, 'top'), 'two')
  await git('commit', '--quiet', '-am', 'two')
  // A repository as plain files behind a web server, which git calls dumb.
  await git('clone', '--quiet', '--bare', work, join(repositories(), 'repo.git'))
  await git('-C', join(repositories(), 'repo.git'), 'update-server-info')
  return async () => {
    server.closeAllConnections()
    await new Promise((done) => server.close(done))
  }
}

test('ADD fetches a file with its time, asks again, and fetches again only what changed', async () => {
  const dockerfile = `FROM scratch\nADD ${origin}/plain/file.txt /d/\nADD ${origin}/archive.tar.gz /packed\nADD --unpack ${origin}/archive.tar.gz /unpacked/\n`
  const { image } = await build(dockerfile)
  assert.deepEqual(await treeOf(image), ['d 755 0:0 ./d', 'f 600 0:0 ./d/file.txt', 'f 600 0:0 ./packed', 'd 755 0:0 ./unpacked', 'd 755 0:0 ./unpacked/in', 'f 644 0:0 ./unpacked/in/side'])
  await opened().laboratory.withFiles(image, async (root) => {
    const { stdout } = await opened().kernel.processes.run(['stat', '-c', '%Y', join(root, 'd/file.txt'), join(root, 'packed')])
    assert.equal(stdout.toString(), `${Date.UTC(2022, 1, 1, 3, 4, 5) / 1000}\n0\n`)
  })
  const { output } = await build(dockerfile)
  assert.equal(output.match(/Using cache/g)?.length, 3)
})

test('ADD --checksum refuses other content, and needs no server for what it has', async () => {
  const checksum = `sha256:${createHash('sha256').update('fetched').digest('hex')}`
  const dockerfile = `FROM scratch\nADD --checksum=${checksum} ${origin}/plain/file.txt?pinned /\n`
  await build(dockerfile)
  const before = asked.length
  await build(dockerfile)
  assert.equal(asked.length, before)
  await assert.rejects(build(`FROM scratch\nADD --checksum=sha256:${'0'.repeat(64)} ${origin}/plain/file.txt /\n`), /Dockerfile:2: ADD failed: digest mismatch sha256:/)
  await assert.rejects(build(`FROM scratch\nADD --checksum=md5:1 ${origin}/plain/file.txt /\n`), /Dockerfile:2: ADD failed: --checksum=md5:1 is no digest/)
  await assert.rejects(build('FROM scratch\nADD --checksum=sha256:0 Dockerfile /\n'), /--checksum needs one source, which is fetched/)
})

test('what cannot be fetched says so with its line', async () => {
  await assert.rejects(build(`FROM scratch\nADD ${origin}/nothing /\n`), /Dockerfile:2: ADD failed: invalid response status 404 Not Found/)
  await assert.rejects(build(`FROM scratch\nADD ${origin}/huge /\n`), /Dockerfile:2: ADD failed: .* at most 17.2GB are fetched/)
  await assert.rejects(build(`FROM scratch\nCOPY ${origin}/plain/file.txt /\n`), /Dockerfile:2: COPY .*source can't be a URL for COPY/)
})

test('ADD fetches repositories by branch, tag and commit, whole or a folder, and sees a moved branch', async () => {
  const { image } = await build(`FROM scratch\nADD ${origin}/repo.git /head/\nADD ${origin}/repo.git#v1 /tag/\nADD ${origin}/repo.git#main:folder /folder/\nADD --keep-git-dir ${origin}/repo.git#v1 /kept/\n`)
  assert.deepEqual([await fileOf(image, 'head/top'), await fileOf(image, 'tag/top'), await fileOf(image, 'folder/inner')], ['two', 'one', 'inner'])
  assert.match(await fileOf(image, 'kept/.git/HEAD'), /^[0-9a-f]{40}\n$/)
  const { output } = await build(`FROM scratch\nADD ${origin}/repo.git /head/\n`)
  assert.match(output, /Using cache/)
  await assert.rejects(build(`FROM scratch\nADD ${origin}/repo.git#nope /\n`), /Dockerfile:2: ADD failed: .*repo\.git does not contain ref nope/)
  await assert.rejects(build(`FROM scratch\nADD --checksum=${'0'.repeat(40)} ${origin}/repo.git /\n`), /expected checksum to match 0{40}/)
  await assert.rejects(build(`FROM scratch\nADD ${origin}/repo.git#main:nope /\n`), /repo\.git has no folder nope/)
})

test('a repository that wants to know who asks is told by the secrets that the client lends', async () => {
  const { host } = new URL(origin)
  const from = async (secrets: Readonly<Record<string, string>>): Promise<string> => {
    const loans: BuildRequest['loans'] = {
      secret: async (id) => (secrets[id] === undefined ? undefined : Buffer.from(secrets[id])),
      hasAgent: async () => false,
      forwardAgent: async () => assert.fail('no agent is needed'),
    }
    return fileOf((await build(`FROM scratch\nADD ${origin}/private/repo.git#v1 /\n`, [], { loans })).image, 'top')
  }
  await assert.rejects(from({}), /Dockerfile:2: ADD failed: failed to fetch .*private\/repo\.git/)
  assert.equal(await from({ GIT_AUTH_TOKEN: 'right\n' }), 'one')
  assert.equal(await from({ [`GIT_AUTH_TOKEN.${host}`]: 'right', GIT_AUTH_TOKEN: 'wrong' }), 'one')
  assert.equal(await from({ GIT_AUTH_HEADER: authorization, GIT_AUTH_TOKEN: 'wrong' }), 'one')
  await assert.rejects(from({ GIT_AUTH_TOKEN: 'wrong' }), (error) => isFault(error, 'invalidArgument') && !/wrong|d3Jvbmc/.test(error.message))
  assert.ok(authorizations.includes(authorization))
})

test('a repository over ssh is fetched with the agent that the client lends', async () => {
  const { kernel, laboratory } = opened()
  const heard: string[] = []
  const ids: string[] = []
  // In the place of git, who would ask the agent by ssh.
  const run: Processes['run'] = async (_argv, { env } = {}) => {
    const socket = connect(env?.['SSH_AUTH_SOCK'] ?? '')
    for await (const chunk of socket.end('who are you?')) heard.push(String(chunk))
    return { exitCode: 128, signal: undefined, stdout: Buffer.alloc(0), stderr: Buffer.from('no such host') }
  }
  const { builder } = laboratory
  laboratory.builder = await openBuilder({ ...laboratory.options, processes: { ...kernel.processes, run } })
  try {
    const loans: BuildRequest['loans'] = {
      secret: async () => undefined,
      hasAgent: async () => true,
      forwardAgent: async (id, connection) => {
        ids.push(id)
        for await (const chunk of connection) connection.end(`asked: ${String(chunk)}`)
      },
    }
    await assert.rejects(build('FROM scratch\nADD git@example.com:o/r.git /\n', [], { loans }), /no such host/)
    assert.deepEqual([ids, heard], [['default'], ['asked: who are you?']])
  } finally {
    laboratory.builder = builder
  }
})

test('git is given no word that it could take for an option, and no protocol of this machine', () => {
  assert.equal(parseGitReference('file:///etc/x.git', { isContext: true }), undefined)
  assert.equal(parseGitReference('ext::sh -c x.git', { isContext: true }), undefined)
  assert.throws(() => parseGitReference('https://h/x.git#--upload-pack=x', { isContext: false }), /is no branch, tag or commit/)
  assert.throws(() => parseGitReference('https://h/x.git#main:../up', { isContext: false }), /leads out of the repository/)
  assert.deepEqual(parseGitReference('git@github.com:o/r.git#v1:sub', { isContext: false }), { remote: 'git@github.com:o/r.git', address: 'git@github.com:o/r.git', ref: 'v1', folder: 'sub', checksum: undefined, keepGitDir: undefined, submodules: true })
  assert.equal(parseGitReference('https://user:secret@h/x.git', { isContext: false })?.address, 'https://user:xxxxx@h/x.git')
  assert.equal(parseGitReference('https://h/x.git?tag=v1&subdir=d', { isContext: false })?.ref, 'refs/tags/v1')
})

test('a context may be a repository, an archive or a Dockerfile elsewhere', async () => {
  const from = (url: string, change: Partial<BuildRequest> = {}): ReturnType<typeof build> => build('', [], { context: { kind: 'url', url }, ...change })
  assert.equal(await fileOf((await from(`${origin}/repo.git#main:folder`)).image, 'inner'), 'inner')
  assert.equal(await fileOf((await from(`${origin}/context.tar`)).image, 'in.txt'), 'ctx')
  assert.equal(await fileOf((await from(`${origin}/Dockerfile`)).image, 'f'), 'from a url\n')
  await assert.rejects(from('what is this'), /neither an address of HTTP nor a git repository/)
})

test('named contexts stand for stages, images and folders', async () => {
  const folder = sampleTar([{ path: 'lib', type: 'directory' }, { path: 'lib/x', content: 'lib' }])
  const context = (): NamedContext => ({ kind: 'folder', tar: async function* () { yield folder } })
  await build('FROM scratch\nCOPY <<who /\nimage\nwho\n', [], { tags: ['replacement:latest'] })
  const dockerfile = 'FROM never:1 AS replaced\nRUN false\nFROM alpine AS base\nFROM scratch\nCOPY --from=base /who /\nCOPY --from=files lib /lib\nCOPY --from=replaced /lib/x /from-stage\n'
  const namedContexts = new Map<string, NamedContext>([['alpine', { kind: 'image', reference: 'replacement:latest' }], ['files', context()], ['replaced', context()], ['lay', { kind: 'layout', reference: 'x' }]])
  const { image } = await build(dockerfile, [], { namedContexts })
  assert.deepEqual(await treeOf(image), ['f 644 0:0 ./from-stage', 'd 755 0:0 ./lib', 'f 644 0:0 ./lib/x', 'f 644 0:0 ./who'])
  assert.deepEqual(await treeOf((await build('FROM files\n', [], { namedContexts })).image), ['d 755 0:0 ./lib', 'f 644 0:0 ./lib/x'])
  await assert.rejects(build('FROM lay\n', [], { namedContexts }), (error) => isFault(error, 'unimplemented'))
})
