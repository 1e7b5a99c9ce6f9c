/**
 * Builds told to buildx's docker driver, the same against each engine. `{out}` is a folder of the case's own; files lie in the context.
 * What the case's image is asked with stands in `run` (by `sh -c` in it), what the client got in `cat`.
 */

export interface BuildxCase {
  readonly name: string
  readonly files: Readonly<Record<string, string>>
  /** Behind `docker buildx`; the working directory is the context. Several are run one after another. */
  readonly commands: readonly (readonly string[])[]
  readonly stdin?: string
  readonly env?: Readonly<Record<string, string>>
  /** Looked at afterwards: configuration and layers. `case` by default, where a command names it. */
  readonly image?: string
  readonly run?: string
  /** Files below `{out}`, printed afterwards. */
  readonly cat?: readonly string[]
  /** Before everything: `docker` with these arguments. */
  readonly prepare?: readonly (readonly string[])[]
  /** Lines that differ from dockerd's of 20.10, as the driver writes them, and why they may. */
  readonly differs?: Readonly<Record<string, string>>
}

const etcTouched = '20.10 leaves the time of /etc changed by the files that it mounts there, and so a layer of a command that changed nothing; BuildKit gives the time back since v0.11 (moby/buildkit#3148)'
const mountPoint = '20.10 leaves the folder that a mount of RUN stood on; BuildKit takes it away since v0.11 (moby/buildkit#3307)'
const countedTriggers = '20.10 does not count triggers among a stage’s steps, and calls the second of two the third; later BuildKit counts and marks them'
const namesMore = 'the message says what would be right or where it was looked for; its place in the Dockerfile is told apart'
const resolvedByStep = 'a base is resolved by the step that uses it'
const ownFolder = '20.10 names a folder of its own instead of the file that was asked for, as later BuildKit does not'

const tag = ['-t', 'case']
const build = (...args: string[]): string[] => ['build', '--progress', 'plain', ...tag, ...args, '.']

export const buildxCases: readonly BuildxCase[] = [
  { name: 'copy and run', files: { Dockerfile: 'FROM busybox\nCOPY a /a\nRUN cat /a > /b\nCMD ["cat", "/b"]\n', a: 'one\n' }, commands: [build()], run: 'cat /b' },
  { name: 'the second time everything is known', files: { Dockerfile: 'FROM busybox\nCOPY a /a\nRUN cat /a > /b\n', a: 'again\n' }, commands: [build(), build()] },
  { name: 'without the cache', files: { Dockerfile: 'FROM busybox\nRUN echo x > /x\n' }, commands: [build(), build('--no-cache')] },
  { name: 'arguments and labels', files: { Dockerfile: 'ARG BASE=nothing\nFROM $BASE\nARG ONE\nARG TWO=two\nENV E=$ONE-$TWO\nLABEL own=1\nRUN echo "$ONE $TWO" > /args\n' }, commands: [build('--build-arg', 'BASE=busybox', '--build-arg', 'ONE=1', '--label', 'given=2')], run: 'cat /args; echo $E' },
  { name: 'a target, and only what it needs', files: { Dockerfile: 'FROM busybox AS a\nRUN echo a > /a\nFROM busybox AS b\nRUN echo b > /b\nFROM a AS c\nCOPY --from=a /a /c\n' }, commands: [build('--target', 'c')], run: 'cat /a /c' },
  { name: 'stages beside each other', files: { Dockerfile: 'FROM busybox AS a\nRUN echo a > /a\nFROM busybox AS b\nRUN echo b > /b\nFROM busybox\nCOPY --from=a /a /\nCOPY --from=b /b /\n' }, commands: [build()], run: 'cat /a /b' },
  { name: 'configuration of every kind', files: { Dockerfile: 'FROM busybox\nENV A=1 B="two words"\nWORKDIR /w/d\nUSER 1000:1000\nEXPOSE 80 53/udp\nVOLUME /v\nSTOPSIGNAL SIGINT\nSHELL ["/bin/sh", "-ec"]\nHEALTHCHECK --interval=5s CMD true\nENTRYPOINT ["/bin/sh"]\nCMD ["-c", "pwd"]\nONBUILD RUN echo trigger\n' }, commands: [build()] },
  { name: 'nothing but metadata', files: { Dockerfile: 'FROM busybox\nENV X=1\n' }, commands: [build()] },
  { name: 'from scratch', files: { Dockerfile: 'FROM scratch\nCOPY a /a\n', a: 'x' }, commands: [build()] },
  { name: 'several names', files: { Dockerfile: 'FROM busybox\nRUN echo names\n' }, commands: [build('-t', 'case:two', '-t', 'localhost:5000/case:three')], differs: { 'dockerd: 3 layers': etcTouched, 'Berth:   2 layers': etcTouched } },
  { name: 'a command that fails', files: { Dockerfile: 'FROM busybox\nRUN echo before\nRUN echo seen; exit 3\nRUN echo never\n' }, commands: [build()] },
  { name: 'a failure among stages', files: { Dockerfile: 'FROM busybox AS a\nRUN sleep 600\nFROM busybox AS b\nRUN exit 4\nFROM busybox\nCOPY --from=a /etc/passwd /a\nCOPY --from=b /etc/passwd /b\n' }, commands: [build()] },
  { name: 'an instruction that there is not', files: { Dockerfile: 'FROM busybox\nRUM x\n' }, commands: [build()], differs: { 'dockerd: ERROR: failed to build: failed to solve: dockerfile parse error line 2: unknown instruction: RUM': namesMore, 'Berth:   ERROR: failed to build: failed to solve: unknown instruction: RUM; did you mean RUN?': namesMore } },
  { name: 'a file that is not there', files: { Dockerfile: 'FROM busybox\nCOPY absent /\n' }, commands: [build()], differs: { 'dockerd: ERROR: "/absent" not found: not found': namesMore, 'dockerd: ERROR: failed to build: failed to solve: failed to compute cache key: "/absent" not found: not found': namesMore, 'Berth:   ERROR: COPY failed: file not found in build context or excluded by .dockerignore: stat absent: file does not exist': namesMore, 'Berth:   ERROR: failed to build: failed to solve: COPY failed: file not found in build context or excluded by .dockerignore: stat absent: file does not exist': namesMore } },
  { name: 'a stage that is not there', files: { Dockerfile: 'FROM busybox\n' }, commands: [build('--target', 'absent')], differs: { 'dockerd: ERROR: failed to build: failed to solve: target stage absent could not be found': namesMore, 'Berth:   ERROR: failed to build: failed to solve: failed to reach build target absent in Dockerfile; its stages are unnamed': namesMore } },
  { name: 'a base that is not there', files: { Dockerfile: 'FROM absent:1\n' }, commands: [build()], differs: { 'dockerd:  > [internal] load metadata for docker.io/library/absent:1:': resolvedByStep, 'dockerd: ERROR: docker.io/library/absent:1: not found': namesMore, 'dockerd: ERROR: failed to build: failed to solve: docker.io/library/absent:1: not found': namesMore, 'Berth:    > [1/1] FROM docker.io/library/absent:1:': resolvedByStep, 'Berth:   ERROR: FROM absent:1: manifest for absent:1 not found: manifest unknown: refused by the stand-in hub': namesMore, 'Berth:   ERROR: failed to build: failed to solve: FROM absent:1: manifest for absent:1 not found: manifest unknown: refused by the stand-in hub': namesMore } },
  { name: 'an empty Dockerfile', files: { Dockerfile: '' }, commands: [build()], differs: { 'dockerd: ERROR: failed to build: failed to solve: the Dockerfile cannot be empty': namesMore, 'Berth:   ERROR: failed to build: failed to solve: the Dockerfile (Dockerfile) cannot be empty': namesMore } },
  { name: 'no Dockerfile', files: { a: '' }, commands: [build()], differs: { 'dockerd: ERROR: failed to build: failed to solve: failed to read dockerfile: open FOLDER/Dockerfile: no such file or directory': ownFolder, 'Berth:   ERROR: failed to build: failed to solve: failed to read dockerfile: open Dockerfile: no such file or directory': ownFolder } },
  { name: 'a Dockerfile of another name', files: { 'sub/my.Dockerfile': 'FROM busybox\nCOPY a /a\n', a: 'elsewhere\n' }, commands: [build('-f', 'sub/my.Dockerfile')], run: 'cat /a' },
  { name: 'a Dockerfile from the input', files: { a: 'in context\n' }, commands: [['build', '--progress', 'plain', ...tag, '-f', '-', '.']], stdin: 'FROM busybox\nCOPY a /a\n', run: 'cat /a' },
  { name: 'only a Dockerfile, from the input', files: {}, commands: [['build', '--progress', 'plain', ...tag, '-']], stdin: 'FROM busybox\nRUN echo piped > /p\n', run: 'cat /p' },
  { name: 'what is ignored', files: { Dockerfile: 'FROM busybox\nCOPY . /c/\n', '.dockerignore': 'secret\n*.log\n!keep.log\n', secret: '', 'x.log': '', 'keep.log': '', kept: '' }, commands: [build()], run: 'cd /c; find . | sort' },
  { name: 'an ignore file of its own', files: { Dockerfile: 'FROM busybox\nCOPY . /c/\n', 'Dockerfile.dockerignore': 'b\n', a: '', b: '' }, commands: [build()], run: 'cd /c; find . | sort' },
  { name: 'secrets', files: { Dockerfile: 'FROM busybox\nRUN --mount=type=secret,id=f cat /run/secrets/f > /f\nRUN --mount=type=secret,id=e cat /run/secrets/e > /e\nRUN ls /run > /ls\n', s: 'from a file\n' }, commands: [build('--secret', 'id=f,src=s', '--secret', 'id=e,env=SECRET')], env: { SECRET: 'from outside' }, run: 'cat /f /e /ls', differs: { 'dockerd: from outsidesecrets': mountPoint, 'Berth:   from outside': mountPoint } },
  { name: 'cache mounts', files: { Dockerfile: 'FROM busybox\nRUN --mount=type=cache,target=/k echo kept > /k/f\nRUN --mount=type=cache,target=/k cat /k/f > /f; ls -A / | grep -c k\n' }, commands: [build()], run: 'cat /f', differs: { 'dockerd: 4 layers': mountPoint, 'Berth:   3 layers': mountPoint } },
  { name: 'mounts of the context and of stages', files: { Dockerfile: 'FROM busybox AS s\nRUN echo stage > /s\nFROM busybox\nRUN --mount=type=bind,source=d,target=/d --mount=type=bind,from=s,source=/s,target=/s cat /d/f /s > /out\n', 'd/f': 'context\n' }, commands: [build()], run: 'cat /out' },
  { name: 'hosts, limits and shared memory', files: { Dockerfile: 'FROM busybox\nRUN grep six /etc/hosts > /h; df -k /dev/shm | tail -1 | awk "{print \\$2}" > /s; ulimit -n > /n\n' }, commands: [build('--add-host', 'six:6.6.6.6', '--shm-size', '16m', '--ulimit', 'nofile=123:456')], run: 'cat /h /s /n' },
  { name: 'no network', files: { Dockerfile: 'FROM busybox\nRUN ip -o link | wc -l > /n\n' }, commands: [build('--network', 'none')], run: 'cat /n' },
  { name: 'into a folder', files: { Dockerfile: 'FROM busybox AS b\nRUN mkdir -p /o/d && echo f > /o/d/f && ln -s d/f /o/l\nFROM scratch\nCOPY --from=b /o /\n' }, commands: [['build', '--progress', 'plain', '--output', '{out}/o', '.']], cat: ['o/d/f', 'o/l'] },
  { name: 'into an archive', files: { Dockerfile: 'FROM scratch\nCOPY a /d/a\n', a: 'archived\n' }, commands: [['build', '--progress', 'plain', '--output', 'type=tar,dest={out}/t', '.']], cat: ['t'] },
  { name: 'into nothing', files: { Dockerfile: 'FROM busybox\nRUN echo nothing\n' }, commands: [['build', '--progress', 'plain', '--output', 'type=cacheonly', '.']] },
  { name: 'an unknown exporter', files: { Dockerfile: 'FROM busybox\n' }, commands: [['build', '--progress', 'plain', '--output', 'type=odd', '.']] },
  { name: 'the id in a file', files: { Dockerfile: 'FROM busybox\nENV I=1\n' }, commands: [build('--iidfile', '{out}/id', '--metadata-file', '{out}/meta')], cat: ['id'] },
  { name: 'quietly', files: { Dockerfile: 'FROM busybox\nRUN echo quiet\n' }, commands: [['build', '-q', ...tag, '.']], differs: { 'dockerd: 3 layers': etcTouched, 'Berth:   2 layers': etcTouched } },
  { name: 'lines of JSON', files: { Dockerfile: 'FROM busybox\nRUN exit 0\n' }, commands: [['build', '--progress', 'quiet', ...tag, '.']], differs: { 'dockerd: 3 layers': etcTouched, 'Berth:   2 layers': etcTouched } },
  { name: 'for the platform of the machine', files: { Dockerfile: 'FROM busybox\nARG TARGETPLATFORM\nARG TARGETARCH\nRUN echo $TARGETPLATFORM $TARGETARCH > /p\n' }, commands: [build('--platform', 'linux/amd64')], run: 'cat /p' },
  { name: 'here-documents', files: { Dockerfile: '# syntax=ignored\nFROM busybox\n' }, commands: [['build', '--help']] },
  { name: 'targets of a bake file', files: { 'docker-bake.hcl': 'group "default" {\n  targets = ["x", "y"]\n}\ntarget "x" {\n  dockerfile = "x.Dockerfile"\n  tags = ["case"]\n  args = { V = "1" }\n}\ntarget "y" {\n  dockerfile = "x.Dockerfile"\n  tags = ["case:y"]\n  args = { V = "2" }\n}\n', 'x.Dockerfile': 'FROM busybox\nARG V\nCOPY f /f\nRUN echo $V > /v\n', f: 'shared\n' }, commands: [['bake', '--progress', 'plain']], run: 'cat /f /v' },
  { name: 'the builders', files: {}, commands: [['ls', '--format', '{{.Name}} {{.DriverEndpoint}} {{.Status}}'], ['inspect', 'default']] },
  { name: 'a builder that is not there', files: {}, commands: [['inspect', 'absent']] },
  { name: 'the cache is pruned', files: { Dockerfile: 'FROM busybox\nRUN echo pruned > /p\n' }, commands: [['build', '--progress', 'plain', '.'], ['prune', '-af'], ['du']] },
  { name: 'wrong filters', files: {}, commands: [['du', '--filter', 'until=wrong']] },
  { name: 'a secret that is not there', files: { Dockerfile: 'FROM busybox\nRUN --mount=type=secret,id=gone,required=true true\n' }, commands: [build()] },
  { name: 'triggers of a base', files: { Dockerfile: 'FROM triggers\nRUN cat /t\n', t: 'by trigger\n', base: 'FROM busybox\nONBUILD COPY t /t\n' }, commands: [['build', '--progress', 'plain', '-t', 'triggers', '-f', 'base', '.'], build()], run: 'cat /t', differs: { 'dockerd: [2/2] COPY t /t': countedTriggers, 'dockerd: [3/2] RUN cat /t': countedTriggers, 'Berth:   [2/3] ONBUILD COPY t /t': countedTriggers, 'Berth:   [3/3] RUN cat /t': countedTriggers, 'dockerd: 4 layers': etcTouched, 'Berth:   3 layers': etcTouched } },
  { name: 'modes and owners of what is copied', files: { Dockerfile: 'FROM busybox\nCOPY --chown=1:2 a /a\nCOPY --chown=daemon d /d\nADD a /e/\n', a: 'a', 'd/f': 'f' }, commands: [build()], run: 'stat -c "%n %a %u:%g" /a /d /d/f /e/a' },
  { name: 'plain docker build', files: { Dockerfile: 'FROM busybox\nRUN echo plain > /p\n' }, commands: [], prepare: [['build', '--progress', 'plain', '-t', 'case', '.']], run: 'cat /p' },
]
