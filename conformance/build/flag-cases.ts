/**
 * Dockerfiles that go through the flags, forms and scopes of each instruction, alone and combined: what `cases.ts` and `more-cases.ts` leave
 * out. What 20.10 does not know has no judge here, and is held against its documentation in `src/engine/build`.
 */
import { execFileSync } from 'node:child_process'
import { gzipSync } from 'node:zlib'
import { sampleTar, type Sample } from '../../src/oci/layer/archive-samples.ts'
import type { BuildCase } from './cases.ts'
import { later } from './later.ts'
import { some } from './samples.ts'

type Written = readonly [name: string, dockerfile: string, more?: Partial<BuildCase>]

const archive = sampleTar([
  { path: 'etc', type: 'directory', mode: 0o711, uid: 3, gid: 4 },
  { path: 'etc/conf', content: 'conf', uid: 3, gid: 4, mode: 0o640 },
  { path: 'etc/alias', type: 'symlink', link: 'conf' },
])
const archives: readonly Sample[] = [
  { path: 'x.tar', content: archive },
  { path: 'x.tar.bz2', content: execFileSync('bzip2', ['-c'], { input: archive }) },
  { path: 'x.tar.xz', content: execFileSync('xz', ['-c'], { input: archive }) },
  { path: 'text.gz', content: gzipSync('no archive') },
  { path: 'in', type: 'directory' },
  { path: 'in/x.tar', content: archive },
]
const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const folder: readonly Sample[] = ['a.txt', 'b.md', 'sub/a.txt', 'sub/deep/c.log', 'sub/deep/d.txt', 'other/e.txt'].map((name) => ({ path: name, content: name }))
const folders: readonly Sample[] = ['sub', 'sub/deep', 'other'].map((name) => ({ path: name, type: 'directory' }))
const all = [...folders, ...folder]

const classic: readonly Written[] = [
  ['COPY --from --chown', 'FROM base:1 AS a\nRUN mkdir -p /o/p && echo 1 > /o/p/1 && chown -R 7:8 /o\nFROM base:1\nCOPY --from=a --chown=daemon:users /o /x/y\nCOPY --from=a --chown=9 /o/p/1 /one\nCOPY --from=a /o /kept\n'],
  ['COPY --chown of every form', 'FROM base:1\nCOPY --chown=daemon:daemon a.txt /a\nCOPY --chown=5:users a.txt /b\nCOPY --chown=daemon:77 a.txt /c\nARG U=daemon\nCOPY --chown=$U dir /new/folders/\n', { files: some }],
  ['COPY --from an image --chown', 'FROM scratch\nCOPY --from=base:1 --chown=1:2 /etc /e\n'],
  ['ADD --chown of an archive', 'FROM base:1\nADD --chown=5:6 x.tar /in/\n', { files: archives, twinDiffers: later('ownedArchives', 'in/etc: dockerd directory 711 3:4 , Berth directory 711 5:6 ', 'in/etc/alias: dockerd symlink 777 0:0 conf, Berth symlink 777 5:6 conf', 'in/etc/conf: dockerd file 640 3:4 0c326c4f0279, Berth file 640 5:6 0c326c4f0279') }],
  ['ADD of archives, compressed in several ways', 'FROM base:1\nADD x.tar.bz2 /bz2/\nADD x.tar.xz /xz\nADD text.gz /text/\nADD in /folder/\n', { files: archives }],
  ['ADD of an archive over what is there', 'FROM base:1\nRUN mkdir -m 700 /t && mkdir /t/etc && echo old > /t/etc/conf && echo kept > /t/etc/kept\nADD x.tar /t\n', { files: archives }],
  ['ADD of archives and files together', 'FROM base:1\nADD x.tar text.gz /t/\n', { files: archives }],
  ['COPY of an archive', 'FROM scratch\nCOPY x.tar /t/\n', { files: archives }],
  ['COPY into what a link leads to', 'FROM base:1\nRUN mkdir -p /real/sub && ln -s real /rel && ln -s /real/sub /abs && ln -s gone /dangling\nCOPY a.txt /rel/\nCOPY a.txt /abs/new\nCOPY b.txt /rel/sub/\n', { files: some }],
  ['COPY over files of other kinds', 'FROM base:1\nRUN mkdir /t && ln -s /etc/passwd /t/a.txt && mkfifo /t/b.txt\nCOPY a.txt b.txt /t/\n', { files: some }],
  ['COPY keeps a folder’s rights where it is there already', 'FROM base:1\nRUN mkdir -m 700 /t && mkdir -m 711 /t/sub && chown 5:5 /t/sub\nCOPY dir /t/\n', { files: some }],
  ['WORKDIR of every form', 'FROM base:1\nWORKDIR rel\nWORKDIR /a//b/\nWORKDIR ../c/.\nWORKDIR "d e"\nWORKDIR f g\nENV P=/x\nWORKDIR $P/${Q:-q}\nRUN pwd > /where\n'],
  ['WORKDIR from scratch', 'FROM scratch\nWORKDIR a/b\nCOPY a.txt .\nWORKDIR /\n', { files: some }],
  ['WORKDIR that is there', 'FROM base:1\nRUN mkdir -m 700 /w && chown 5:6 /w\nWORKDIR /w\nRUN pwd > /where\n'],
  ['USER of every form', 'FROM base:1\nUSER daemon\nRUN id > /tmp/a; echo $HOME >> /tmp/a\nUSER 1:100\nRUN id > /tmp/b; echo $HOME >> /tmp/b\nUSER 4321\nRUN id > /tmp/c; echo $HOME >> /tmp/c\nUSER root:users\nRUN id > /tmp/d; echo $HOME >> /tmp/d\n', { twinDiffers: later('ownGroup', 'tmp/a: dockerd file 644 1:1 052ec2d38cc8, Berth file 644 1:1 85d42a389064', 'tmp/b: dockerd file 644 1:100 e43a5776bae9, Berth file 644 1:100 3a7f789e8be3', 'tmp/c: dockerd file 644 4321:0 a1e235d657b8, Berth file 644 4321:0 57e635295566', 'tmp/d: dockerd file 644 0:100 18103fae8a5b, Berth file 644 0:100 20854843ba3f') }],
  ['RUN: what variables there are', 'FROM base:1\nENV A=a\nARG B=b\nWORKDIR /w\nRUN env | grep -v ^HOSTNAME= | sort > /env\n'],
  ['RUN: what a process may', 'FROM base:1\nRUN grep -e ^Cap -e ^NoNewPrivs -e ^Seccomp: /proc/self/status > /status; umask > /mask; cat > /stdin; echo $$ > /pid\n'],
  ['RUN: words of the exec form stay as they are', 'FROM base:1\nENV V=v\nRUN ["/bin/busybox", "sh", "-c", "echo $0 $V \\"$1\\" > /out", "${V}", "a  b"]\n'],
  ['RUN: continued, with blank and commented lines', 'FROM base:1\nRUN echo one > /a && \\\n\n# gone\n  # gone, too\n   echo two > /b ; \\\n   echo "three   spaces" > /c\n'],
  ['RUN: backslashes and quotes', 'FROM base:1\nRUN echo a\\ b "c\\"d" \'e\\f\' > /out; printf "%s" \\\\ >> /out\n'],
  ['HEALTHCHECK: an interval alone', 'FROM base:1\nHEALTHCHECK --interval=90s CMD true\n'],
  ['HEALTHCHECK: a timeout alone', 'FROM base:1\nHEALTHCHECK --timeout=1m30s CMD ["/bin/true"]\n'],
  ['HEALTHCHECK: a start period alone', 'FROM base:1\nHEALTHCHECK --start-period=1h CMD true\n'],
  ['HEALTHCHECK: retries alone', 'FROM base:1\nHEALTHCHECK --retries=5 CMD true\n'],
  ['HEALTHCHECK: another one, then none, then one', 'FROM base:1\nHEALTHCHECK --retries=1 CMD a\nHEALTHCHECK NONE\nHEALTHCHECK CMD b $C "d e"\n', { differs: { 'config.Healthcheck: dockerd {"Test":["CMD-SHELL","b $C \\"d e\\""],"Retries":1}, Berth {"Test":["CMD-SHELL","b $C \\"d e\\""]}': 'the classic builder’s copies of a configuration share one health check, into which making a container for the step merges what the image below says; its BuildKit gives what we give' } }],
  ['HEALTHCHECK: with another shell', 'FROM base:1\nSHELL ["/bin/sh", "-ec"]\nHEALTHCHECK CMD true\n'],
  ['ONBUILD of every instruction', 'FROM base:1\nONBUILD ENV A=$B\nONBUILD ARG B=b\nONBUILD COPY --chown=1:2 a.txt /a\nONBUILD ADD b.txt /b\nONBUILD RUN ["true"]\nONBUILD WORKDIR /w\nONBUILD USER daemon\nONBUILD CMD ["a", "b"]\nONBUILD EXPOSE 80\nONBUILD VOLUME /v\nONBUILD LABEL a="b c"\nONBUILD HEALTHCHECK NONE\nONBUILD STOPSIGNAL SIGINT\nONBUILD SHELL ["/bin/sh", "-c"]\nONBUILD ENTRYPOINT e\n'],
  ['ONBUILD of a stage', 'FROM base:1 AS a\nONBUILD RUN echo triggered > /t\nONBUILD ENV T=1\nFROM a\nRUN echo $T > /after\n'],
  ['ONBUILD fires once', 'FROM with-trigger:1 AS a\nRUN echo first > /first\nFROM a\nRUN rm /triggered\n', { files: some }],
  ['ONBUILD under a folder and a user', 'FROM base:1 AS a\nWORKDIR /w\nONBUILD COPY a.txt here\nONBUILD RUN pwd > /where\nFROM a AS b\nWORKDIR /other\n', { files: some }],
  ['ARG: of a stage ends with it', 'FROM base:1 AS a\nARG A=1\nRUN echo "[$A]" > /a\nFROM base:1\nRUN echo "[$A]" > /b\n'],
  ['ARG: a stage upon a stage', 'FROM base:1 AS a\nARG A=1\nENV E=$A\nFROM a\nRUN echo "[$A][$E]" > /b\n'],
  ['ARG: a stage upon a stage, with what was given', 'FROM base:1 AS a\nARG A\nRUN echo "[$A]" > /a\nFROM a\nRUN echo "[$A]" > /b\nARG A\nRUN echo "[$A]" > /c\n', { args: { A: 'given' } }],
  ['ARG: after ENV', 'FROM base:1\nENV A=env\nARG A=arg\nRUN echo $A > /a\nENV B=$A\n'],
  ['ARG: after ENV, with what was given', 'FROM base:1\nENV A=env\nARG A=arg\nRUN echo $A > /a\nLABEL l=$A\n', { args: { A: 'given' } }],
  ['ARG: before and after its use', 'FROM base:1\nENV B=[$A]\nARG A=1\nENV C=[$A]\nARG A=2\nENV D=[$A]\n'],
  ['ARG: of the file, with a default of the stage', 'ARG A=file\nFROM base:1\nARG A=stage\nRUN echo $A > /a\n'],
  ['ARG: of the file with what was given, and a default of the stage', 'ARG A=file\nFROM base:1\nARG A=stage\nRUN echo $A > /a\n', { args: { A: 'given' } }],
  ['ARG: of the file made of another', 'ARG A=1\nARG B=$A-2\nARG T=${A}\nFROM base:$T\nARG B\nRUN echo $B > /b\n'],
  ['ARG: empty and missing', 'FROM base:1\nARG A=\nARG B\nRUN echo "[${A-unset}][${B-unset}]" > /a\nENV C=[${A:-a}] D=[${B:-b}]\n'],
  ['ARG: quoted', 'FROM base:1\nARG A="two words"\nARG B=\'$A\'\nARG C=es\\ caped\nRUN echo "[$A][$B][$C]" > /a\nENV D=$A E="$B"\n'],
  ['ARG: proxies that the file declares', 'FROM base:1\nARG HTTP_PROXY=http://default\nARG no_proxy\nRUN echo "[$HTTP_PROXY][$http_proxy][$no_proxy][$NO_PROXY]" > /a\n', { args: { no_proxy: 'given' } }],
  ['ARG: all proxies', 'FROM base:1\nRUN env | grep -i _proxy | sort > /a\n', { args: { http_proxy: 'a', HTTPS_PROXY: 'b', ftp_proxy: 'c', NO_PROXY: 'd' } }],
  ['ENV: proxies of the file and of the request', 'FROM base:1\nENV HTTP_PROXY=file\nRUN echo "[$HTTP_PROXY][$http_proxy]" > /a\n', { args: { HTTP_PROXY: 'request' } }],
  ['variables in every instruction', 'FROM base:1\nENV V=v P=80 D=/d S=SIGINT U=daemon\nADD $V.txt $D/\nCOPY ${V}.txt ${D}/${V}2\nEXPOSE $P/udp ${Q:-81}\nVOLUME $D/vol\nLABEL $V=$V "a$V"=\'$V\'\nSTOPSIGNAL $S\nUSER $U\nWORKDIR $D/$V\nENTRYPOINT ["$V"]\nCMD echo $V\n', { files: [{ path: 'v.txt', content: 'v' }] }],
  ['variables: defaults of defaults', 'FROM base:1\nENV A=${X:-${Y:-z}} B=${A:+${A}b} C=${X:+x} D="${X:-a b}" E=\'${X}\' F=${PATH:+}\n'],
  ['variables: escapes', 'FROM base:1\nENV A=1\nENV B=\\$A C=\\${A} D="\\$A" E=$A\\b F=a\\ b\\ c G="tab\\tx"\n'],
  ['variables: names next to text', 'FROM base:1\nENV A=1 A_B=2\nENV C=$A_B D=${A}_B E=$A-B F=$A.B G=a$A H=$$A\n'],
  ['directives: the escape character, in any case', '#EsCaPe = `\nFROM base:1\nRUN echo a `\n && echo b > /b\nENV A="x`"y" B=a\\b\n'],
  ['directives: none after a comment', '# a comment\n# escape=`\nFROM base:1\nRUN echo a \\\n > /a\nENV A=`\n'],
  ['comments and blank lines everywhere', '\n\n# first\n   # indented\n\nFROM base:1\n\n  # more\nENV A=1 \\\n# inside\n    B=2\n\nLABEL a=#no b="# no"\nRUN echo "# not a comment" > /a # but for the shell\n'],
  ['line ends of Windows', 'FROM base:1\r\nENV A=1\r\nRUN echo $A > /a\r\nRUN echo b \\\r\n > /b\r\n'],
  ['a byte order mark', '\uFEFFFROM base:1\nENV A=1\n'],
  ['ignored: wildcards, exceptions and comments', 'FROM scratch\nCOPY . /\n', { fromFolder: true, files: [...all, { path: '.dockerignore', content: '# none\n\n*.md\n**/*.txt\n!sub/deep/*.txt\n!/a.txt\n' }] }],
  ['ignored: folders, slashes and dots', 'FROM scratch\nCOPY . /\n', { fromFolder: true, files: [...all, { path: '.dockerignore', content: 'sub/\n./other/../other\n!sub/deep/d.txt\n' }] }],
  ['ignored: the Dockerfile and the ignore file', 'FROM scratch\nCOPY . /\n', { fromFolder: true, files: [...all, { path: '.dockerignore', content: 'Dockerfile\n.dockerignore\n**/deep\n' }] }],
  ['a target in another case', 'FROM base:1 AS One\nRUN echo 0 > /0\nFROM base:1\nRUN false\n', { target: 'ONE' }],
  ['a platform', 'FROM --platform=linux/amd64 base:1\nRUN echo x > /x\n'],
  ['EXPOSE of every form', 'FROM base:1\nEXPOSE 1 2/TCP 3/udp 4-6/sctp 8080:80 127.0.0.1:9:90\nEXPOSE "7"\n'],
  ['LABEL of every form', 'FROM base:1\nLABEL a b c\nLABEL "d"="e" f=g\\ h i=\'j k\' l=\nLABEL m="a\\\nb"\n'],
  ['CMD and ENTRYPOINT, emptied', 'FROM with-command:1\nCMD []\nENTRYPOINT ["e"]\nENTRYPOINT []\n'],
  ['CMD with words that JSON escapes', 'FROM base:1\nCMD ["a\\tb", "\\u00fc", "<&>", "\\\\", "\\""]\n'],
  ['files of many kinds go through stages', 'FROM base:1 AS a\nRUN mkdir /o && cd /o && mkfifo p && mknod c c 1 3 && mknod b b 7 0 && ln -s /nowhere s && echo x > f && ln f h && chmod 6755 f && touch "a b" && mkdir -m 1777 d\nFROM scratch\nCOPY --from=a /o /o\n', { twinDiffers: later('deviceNodes', 'o/b: dockerd file 644 0:0 , Berth blockDevice 644 0:0 ', 'o/c: dockerd file 644 0:0 , Berth charDevice 644 0:0 ', 'o/p: dockerd nothing, Berth fifo 644 0:0 ') }],
]

/** No twin: BuildKit refuses to copy a folder over a link, and fetches the frontend that a line names. */
const classicAlone: readonly Written[] = [
  ['COPY of a folder over a link to a folder', 'FROM base:1\nRUN mkdir -p /t /real && ln -s /real /t/sub\nCOPY dir /t\n', { files: some }],
  ['directives: a syntax', '# syntax=docker/dockerfile:1\nFROM base:1\nENV A=1\n'],
]

const secret = { secrets: { s: 'secret\n', other: 'two' } } as const

/** Those of RUN leave the folder that a mount stood on, in 20.10: see `more-cases.ts`. */
const buildkit: readonly Written[] = [
  ['COPY --chown --chmod', 'FROM base:1\nCOPY --chown=daemon:users --chmod=640 a.txt dir /x/\n', { files: some, differs: later('folderModes', 'x: dockerd directory 755 1:100 , Berth directory 640 1:100 ') }],
  ['COPY --from --chown --chmod', 'FROM base:1 AS a\nRUN mkdir -p /o/p && echo 1 > /o/p/1 && chown -R 7:8 /o && chmod 4755 /o/p/1\nFROM base:1\nCOPY --from=a --chmod=604 /o /x/\nCOPY --from=a --chown=1:2 --chmod=2711 /o/p/1 /y\n', { differs: { ...later('folderModes', 'x: dockerd directory 755 0:0 , Berth directory 604 0:0 '), ...later('specialBits', 'x/p/1: dockerd file 4604 7:8 4355a46b19d3, Berth file 604 7:8 4355a46b19d3', 'y: dockerd file 4711 1:2 4355a46b19d3, Berth file 2711 1:2 4355a46b19d3') } }],
  ['ADD --chown --chmod', 'FROM base:1\nADD --chown=5:6 --chmod=777 a.txt /x\n', { files: some }],
  ['ADD --chmod of an archive', 'FROM base:1\nADD --chmod=700 x.tar /x/\n', { files: archives }],
  ['COPY --chmod of several digits', 'FROM scratch\nCOPY --chmod=0644 a.txt /a\nCOPY --chmod=7 a.txt /b\nCOPY --chmod=1777 dir /d\n', { files: some, differs: { ...later('folderModes', 'd: dockerd directory 755 0:0 , Berth directory 777 0:0 '), ...later('specialBits', 'd/hard: dockerd file 777 0:0 a4e0317eafab, Berth file 1777 0:0 a4e0317eafab', 'd/other.sh: dockerd file 777 0:0 043a718774c5, Berth file 1777 0:0 043a718774c5', 'd/run.sh: dockerd file 777 0:0 a4e0317eafab, Berth file 1777 0:0 a4e0317eafab', 'd/sub: dockerd directory 777 0:0 , Berth directory 1777 0:0 ', 'd/sub/deep.txt: dockerd file 777 0:0 74611c1d6455, Berth file 1777 0:0 74611c1d6455') } }],
  ['mount: bind of an image', 'FROM base:1\nRUN --mount=type=bind,from=with-command:1,source=/etc/passwd,target=/p cat /p > /out\n'],
  ['mount: bind is for reading', 'FROM base:1 AS a\nRUN mkdir /o && echo x > /o/x\nFROM base:1\nRUN mkdir /in\nRUN --mount=from=a,source=o,target=/in touch /in/y 2>/dev/null || echo refused > /out; cat /in/x >> /out\n'],
  ['mount: names of options', 'FROM base:1 AS a\nRUN mkdir /o && echo x > /o/x\nFROM base:1\nRUN mkdir /in /in2 /in3\nRUN --mount=from=a,src=/o,dst=/in --mount=from=a,source=/o,destination=/in2,readwrite=true --mount=type=bind,from=a,source=/o,target=/in3,ro=false cat /in/x > /out; echo y > /in2/y; echo z > /in3/z; cat /in2/y /in3/z >> /out\n'],
  ['mount: a target beside the working folder', 'FROM base:1\nWORKDIR /w\nRUN mkdir in\nRUN --mount=source=a.txt,target=in/f cat in/f > out\n', { files: some }],
  ['mount: owners of what the context lends', 'FROM base:1\nRUN mkdir /in\nRUN --mount=target=/in ls -ln /in | busybox awk \'{ print $1, $3, $4, $9 }\' > /out\n', { files: some }],
  ['mount: a cache of somebody', 'FROM base:1\nRUN mkdir /c\nRUN --mount=type=cache,target=/c,id=owned,uid=5,gid=6,mode=0750 busybox stat -c "%a %u:%g" /c > /out\n'],
  ['mount: a cache by its id', 'FROM base:1\nRUN mkdir /c /d\nRUN --mount=type=cache,id=one,target=/c echo 1 > /c/f\nRUN --mount=type=cache,id=one,target=/d cat /d/f > /out\nRUN --mount=type=cache,target=/c ls /c > /other\n'],
  ['mount: caches of every kind of sharing', 'FROM base:1\nRUN mkdir /c /d /e\nRUN --mount=type=cache,target=/c,sharing=shared --mount=type=cache,target=/d,sharing=private --mount=type=cache,target=/e,sharing=locked echo 1 > /c/f; echo 2 > /d/f; echo 3 > /e/f\nRUN --mount=type=cache,target=/c,sharing=shared --mount=type=cache,target=/d,sharing=private --mount=type=cache,target=/e,sharing=locked cat /c/f /d/f /e/f > /out\n'],
  ['mount: a cache that is read', 'FROM base:1\nRUN mkdir /c\nRUN --mount=type=cache,target=/c,readonly touch /c/f 2>/dev/null || echo refused > /out\n'],
  ['mount: a cache that begins with the context', 'FROM base:1 AS ctx\nCOPY . /\nFROM base:1\nRUN mkdir /c\nRUN --mount=type=cache,target=/c,from=ctx,source=/dir ls -ln /c | busybox awk \'{ print $1, $3, $4, $9 }\' > /out\n', { files: some }],
  ['mount: tmpfs hides and forgets', 'FROM base:1\nRUN mkdir /t && echo x > /t/x\nRUN --mount=type=tmpfs,target=/t ls -A /t > /out; echo y > /t/y; busybox stat -c "%a %u:%g" /t >> /out\n'],
  ['mount: secrets', 'FROM base:1\nRUN mkdir -p /run/secrets\nRUN --mount=type=secret,id=s cat /run/secrets/s > /out; busybox stat -c "%a %u:%g" /run/secrets/s >> /out\nRUN --mount=type=secret,id=s,dst=/etc/s cat /etc/s >> /out\n', secret],
  ['mount: a secret of somebody', 'FROM base:1\nRUN --mount=type=secret,id=other,target=/s,uid=5,gid=6,mode=0440 cat /s > /out; busybox stat -c "%a %u:%g" /s >> /out\nUSER daemon\nRUN --mount=type=secret,id=s,target=/s cat /s 2>/dev/null > /tmp/out || echo refused > /tmp/out\n', secret],
  ['mount: a secret that is not there', 'FROM base:1\nRUN --mount=type=secret,id=gone ls /run > /out 2>&1; ls /run/secrets >> /out 2>&1; true\n', secret],
  ['mount: several of several kinds', 'FROM base:1 AS a\nRUN mkdir /o && echo x > /o/x\nFROM base:1\nRUN mkdir /a /b /c /d\nRUN --mount=from=a,source=/o,target=/a --mount=type=cache,target=/b --mount=type=tmpfs,target=/c --mount=source=dir,target=/d --mount=type=secret,id=s,target=/s cat /a/x /d/run.sh /s > /out; echo b > /b/f; echo c > /c/f\n', { files: some, ...secret }],
  ['mount: on what is a link', 'FROM base:1\nRUN mkdir /real && ln -s real /link\nRUN --mount=type=tmpfs,target=/link echo x > /link/x; ls /real > /out\n'],
  ['RUN: the name of the machine', 'FROM base:1\nRUN busybox hostname > /name; busybox grep -c buildkitsandbox /etc/hosts > /hosts; echo $HOSTNAME >> /name\n'],
  ['RUN: which devices there are', 'FROM base:1\nRUN busybox ls -A /dev | sort > /devices\n'],
  ['several platforms’ arguments', 'ARG TARGETARCH\nARG X=$BUILDARCH\nFROM base:1\nARG TARGETARCH\nARG TARGETVARIANT\nARG TARGETOS=other\nARG X\nENV A=$TARGETARCH-$TARGETVARIANT-$TARGETOS-$X-$BUILDOS\n', { differs: later('globalArgs', `config.Env: dockerd ["${path}","A=--other-amd64-"], Berth ["${path}","A=amd64--other-amd64-"]`) }],
  ['ignored: a file of the Dockerfile’s own', 'FROM scratch\nCOPY . /\n', { fromFolder: true, files: [...all, { path: '.dockerignore', content: '*.md\n' }, { path: 'Dockerfile.dockerignore', content: 'sub\n' }] }],
  ['stages that nobody needs fail unseen', 'FROM absent:1 AS no\nRUN false\nFROM base:1 AS a\nRUN echo a > /a\nFROM base:1\nCOPY --from=a /a /b\n'],
]

const named = (cases: readonly Written[]): readonly BuildCase[] => cases.map(([name, dockerfile, more]) => ({ name, dockerfile, ...more }))

export const flagCases: readonly BuildCase[] = [...named(classic), ...named(classicAlone).map((each) => ({ ...each, classicAlone: true as const })), ...named(buildkit).map((each) => ({ ...each, name: `buildkit: ${each.name}`, buildkit: true as const }))]
