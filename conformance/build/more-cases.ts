/**
 * More Dockerfiles, by instruction: with those of `cases.ts` a hundred. What the classic builder of 20.10 does not know is judged by the
 * BuildKit inside the same dockerd (`buildkit`), as far as its frontend goes: here-documents and later flags have no judge there.
 */
import type { BuildCase } from './cases.ts'
import { later } from './later.ts'
import { some } from './samples.ts'

const classic: readonly (readonly [name: string, dockerfile: string, more?: Partial<BuildCase>])[] = [
  ['FROM: three stages in a row', 'FROM base:1 AS one\nENV A=1\nRUN echo 1 > /1\nFROM one AS two\nENV B=$A-2\nRUN echo 2 > /2\nFROM two\nENV C=$B-3\nRUN cat /1 /2 > /3\n'],
  ['FROM: a stage by number', 'FROM base:1\nRUN echo x > /x\nFROM scratch\nCOPY --from=0 /x /y\n'],
  ['FROM: names in another case', 'FROM base:1 AS Build\nRUN echo x > /x\nFROM scratch\nCOPY --from=build /x /y\n'],
  ['FROM: an argument with a default in the name', 'ARG N=base\nARG T=1\nFROM ${N}:${T:-2}\nLABEL a=b\n'],
  ['FROM: a target in the middle', 'FROM base:1 AS a\nRUN echo a > /a\nFROM a AS b\nRUN echo b > /b\nFROM b\nRUN echo c > /c\n', { target: 'b' }],
  ['RUN: exec form', 'FROM base:1\nRUN ["/bin/sh", "-c", "echo $0 > /out", "zero"]\n'],
  ['RUN: continued with comments', 'FROM base:1\nRUN echo a > /a \\\n  # not this\n  && echo b > /b \\\n  && echo c > /c\n'],
  ['RUN: as a user in a folder', 'FROM base:1\nRUN mkdir -m 777 /w\nWORKDIR /w\nUSER daemon\nRUN echo x > mine && id -u > uid && pwd > where\n'],
  ['RUN: quotes and dollars are the shell\'s', 'FROM base:1\nENV V="a b"\nRUN echo "$V" \'$V\' \\$V > /out\n'],
  ['RUN: another shell', 'FROM base:1\nSHELL ["/bin/busybox", "sh", "-c"]\nRUN echo $0 > /out\nCMD run me\n'],
  ['RUN: files of every kind', 'FROM base:1\nRUN mkfifo /pipe && mknod /null c 1 3 && ln -s nowhere /dangling && touch /f && ln /f /g && chmod 4755 /f\n'],
  ['RUN: a folder replaced by a file', 'FROM base:1\nRUN mkdir -p /x/y && echo z > /x/y/z\nRUN rm -rf /x && echo file > /x\n'],
  ['RUN: a file replaced by a folder', 'FROM base:1\nRUN echo file > /x\nRUN rm /x && mkdir /x && echo in > /x/in\n'],
  ['RUN: removed and made again', 'FROM base:1\nRUN mkdir /x && echo 1 > /x/1\nRUN rm -rf /x && mkdir /x && echo 2 > /x/2\n'],
  ['RUN: rights of a folder', 'FROM base:1\nRUN mkdir /d && chmod 2770 /d && chown 7:8 /d\nRUN touch /d/in\n'],
  ['RUN: nothing changed', 'FROM base:1\nRUN true\nRUN ["true"]\n'],
  ['CMD: shell form', 'FROM base:1\nCMD echo $HOME\n'],
  ['CMD: the last one counts', 'FROM base:1\nCMD ["a"]\nCMD ["b", "c"]\n'],
  ['CMD: not quite JSON', "FROM base:1\nCMD ['a', 'b']\n"],
  ['CMD: reset by ENTRYPOINT', 'FROM with-command:1\nENTRYPOINT ["/bin/sh"]\n'],
  ['CMD: kept beside ENTRYPOINT', 'FROM with-command:1\nCMD ["own"]\nENTRYPOINT ["/bin/sh"]\n'],
  ['ENTRYPOINT: shell form', 'FROM base:1\nENTRYPOINT exec top -b\n'],
  ['ENTRYPOINT: empty', 'FROM base:1\nENTRYPOINT ["x"]\nENTRYPOINT []\n'],
  ['LABEL: several forms', 'FROM base:1\nLABEL a=1 b="two words" "c d"=e\nLABEL f multi\\\nline\nLABEL g=$PATH\n'],
  ['LABEL: of the request wins', 'FROM base:1\nLABEL a=file b=file\n', { labels: { a: 'request' } }],
  ['EXPOSE: ports, ranges and protocols', 'FROM base:1\nARG P=99\nEXPOSE 80 443/tcp 53/udp 8000-8002 $P\n'],
  ['ENV: one after another', 'FROM base:1\nENV A=1\nENV A=2 B=$A\nENV C=$A$B\n'],
  ['ENV: old form keeps spaces', 'FROM base:1\nENV A  x   y \nENV B = z\n'],
  ['ENV: continued', 'FROM base:1\nENV A=1 \\\n    B=2 \\\n    C="3 \\\n    4"\n'],
  ['ENV: default and alternative', 'FROM base:1\nENV A=${X:-x} B=${X:+y} C=${PATH:+set} D=${PATH:-unset}\n'],
  ['ENV: escaped', 'FROM base:1\nENV A=\\$PATH B="\\"q\\"" C=a\\\\b D=\'$PATH\'\n'],
  ['ADD: a folder', 'FROM scratch\nADD dir /d/\n', { files: some }],
  ['ADD: keeps a text file as it is', 'FROM scratch\nADD a.txt dir/run.sh /x/\n', { files: some }],
  ['ADD: with an owner', 'FROM base:1\nADD --chown=3:4 a.txt dir /x/\n', { files: some }],
  ['COPY: several folders into one', 'FROM scratch\nCOPY dir empty /x/\n', { files: some }],
  ['COPY: JSON form', 'FROM scratch\nCOPY ["a.txt", "b.txt", "/with space/"]\n', { files: some }],
  ['COPY: a pattern with a class', 'FROM scratch\nCOPY [ab].txt /x/\n', { files: some }],
  ['COPY: a question mark', 'FROM scratch\nCOPY ?.txt /x/\n', { files: some }],
  ['COPY: dot of a folder', 'FROM scratch\nCOPY dir/. /x\n', { files: some }],
  ['COPY: over itself', 'FROM scratch\nCOPY a.txt /f\nCOPY b.txt /f\n', { files: some }],
  ['COPY: a variable names source and destination', 'FROM base:1\nARG S=a\nENV D=/x\nCOPY ${S}.txt $D/\n', { files: some }],
  ['COPY: from a stage, several', 'FROM base:1 AS a\nRUN mkdir -p /o/p && echo 1 > /o/1 && echo 2 > /o/p/2 && chown 7:8 /o/1\nFROM scratch\nCOPY --from=a /o/1 /o/p /x/\n'],
  ['COPY: from a stage with a pattern', 'FROM base:1 AS a\nRUN mkdir /o && echo 1 > /o/1.x && echo 2 > /o/2.x && echo 3 > /o/3.y\nFROM scratch\nCOPY --from=a /o/*.x /x/\n'],
  ['COPY: from another image', 'FROM scratch\nCOPY --from=base:1 /etc/passwd /p\n'],
  ['COPY: a link of a stage', 'FROM base:1 AS a\nRUN mkdir /o && echo 1 > /o/f && ln -s f /o/l && ln -s /o /ol\nFROM scratch\nCOPY --from=a /o /x\nCOPY --from=a /ol /y\n'],
  ['COPY: names with spaces and beyond ASCII', 'FROM scratch\nCOPY . /x\n', { files: [{ path: 'with space', content: 's' }, { path: 'ünï', content: 'u' }, { path: 'ä', type: 'directory' }, { path: 'ä/ö', content: 'o' }] }],
  ['VOLUME: both forms', 'FROM base:1\nENV V=/from-env\nVOLUME /a /b\nVOLUME ["/c", "/d"]\nVOLUME $V\n'],
  ['VOLUME: what is put there later stays in the image', 'FROM base:1\nRUN mkdir /v && echo 1 > /v/1\nVOLUME /v\nCOPY a.txt /v/2\n', { files: some }],
  ['USER: names, numbers and groups', 'FROM base:1\nARG U=daemon\nUSER $U:100\n'],
  ['WORKDIR: relative, absolute and with variables', 'FROM base:1\nENV D=sub\nWORKDIR /a\nWORKDIR b/$D\nWORKDIR ../c\nRUN pwd > /where\n'],
  ['WORKDIR: through a link', 'FROM base:1\nRUN mkdir /real && ln -s /real /alias\nWORKDIR /alias/in\nRUN echo x > f\n'],
  ['ARG: without a value', 'FROM base:1\nARG A\nRUN echo "[$A]" > /a\n'],
  ['ARG: of the file reaches stages that ask', 'ARG A=global\nFROM base:1 AS x\nARG A\nRUN echo $A > /a\nFROM base:1\nRUN echo "[$A]" > /b\nCOPY --from=x /a /a\n'],
  ['ARG: ENV wins', 'FROM base:1\nARG A=arg\nENV A=env\nRUN echo $A > /a\n', { args: { A: 'given' } }],
  ['ARG: proxies need no declaration', 'FROM base:1\nRUN echo $HTTP_PROXY-$http_proxy > /a\n', { args: { HTTP_PROXY: 'http://p:1' } }],
  ['ONBUILD: several', 'FROM with-trigger:1\nRUN cat /triggered > /seen\n', { files: some }],
  ['ONBUILD: kept for others', 'FROM base:1\nONBUILD RUN echo later\nONBUILD LABEL a=b\n'],
  ['STOPSIGNAL: number and variable', 'FROM base:1\nARG S=SIGUSR1\nSTOPSIGNAL $S\n'],
  ['HEALTHCHECK: all flags', 'FROM base:1\nHEALTHCHECK --interval=1m --timeout=2s --start-period=3s --retries=4 CMD ["true", "x"]\n'],
  ['HEALTHCHECK: none', 'FROM base:1\nHEALTHCHECK CMD true\nHEALTHCHECK NONE\n'],
  ['SHELL: for CMD and ENTRYPOINT', 'FROM base:1\nSHELL ["/bin/sh", "-ec"]\nCMD one\nENTRYPOINT two\n'],
  ['MAINTAINER', 'FROM base:1\nMAINTAINER Somebody <s@example.com>\n'],
  ['escape directive', '# escape=`\nFROM base:1\nENV A=c:\\x B=`$PATH\nRUN echo `\n  joined > /out\n'],
  ['lower case instructions', 'from base:1\nenv A=1\nrun echo $A > /a\ncmd ["x"]\n'],
]

function leavesMountPoint(path: string): Pick<BuildCase, 'differs'> {
  return { differs: later('mountPoints', `${path}: dockerd directory 755 0:0 , Berth nothing`) }
}

const buildkit: readonly (readonly [name: string, dockerfile: string, more?: Partial<BuildCase>])[] = [
  ['mount: a file and a folder of the context', 'FROM base:1\nRUN --mount=type=bind,target=/ctx cat /ctx/a.txt /ctx/dir/run.sh > /out\nRUN --mount=target=/f,source=b.txt cat /f > /b\n', { files: some, ...leavesMountPoint('ctx') }],
  ['mount: of another stage', 'FROM base:1 AS a\nRUN mkdir /o && echo x > /o/x\nFROM base:1\nRUN --mount=type=bind,from=a,source=/o,target=/in cat /in/x > /out\n', leavesMountPoint('in')],
  ['mount: writable, and forgotten', 'FROM base:1 AS a\nRUN mkdir /o && echo x > /o/x\nFROM base:1\nRUN --mount=type=bind,from=a,source=/o,target=/in,rw echo y > /in/y && cat /in/x /in/y > /out\n', leavesMountPoint('in')],
  ['mount: a cache over two commands', 'FROM base:1\nRUN --mount=type=cache,target=/c echo 1 > /c/f\nRUN --mount=type=cache,target=/c cat /c/f > /out\n', leavesMountPoint('c')],
  ['mount: a cache with what it begins with', 'FROM base:1 AS a\nRUN mkdir /o && echo x > /o/x\nFROM base:1\nRUN --mount=type=cache,target=/c2,from=a,source=/o cat /c2/x > /out\n', leavesMountPoint('c2')],
  ['mount: tmpfs', 'FROM base:1\nRUN --mount=type=tmpfs,target=/t echo x > /t/x && ln -s /t/x /l && cat /t/x > /out\n', leavesMountPoint('t')],
  ['COPY --chmod', 'FROM scratch\nCOPY --chmod=741 a.txt dir/run.sh /x/\n', { files: some, differs: later('folderModes', 'x: dockerd directory 755 0:0 , Berth directory 741 0:0 ') }],
  ['ADD --chmod', 'FROM scratch\nADD --chmod=600 a.txt /x/\n', { files: some, differs: later('folderModes', 'x: dockerd directory 755 0:0 , Berth directory 600 0:0 ') }],
  ['COPY: a set-user-id file of the context', 'FROM scratch\nCOPY s /s\n', { files: [{ path: 's', content: 's', mode: 0o4755 }] }],
  ['COPY: an optional file', 'FROM scratch\nCOPY a.txt missing* /x/\n', { files: some }],
  ['platform arguments', 'FROM --platform=$BUILDPLATFORM base:1\nARG TARGETPLATFORM\nARG TARGETOS\nARG TARGETARCH\nARG BUILDPLATFORM\nRUN echo $TARGETPLATFORM $TARGETOS $TARGETARCH $BUILDPLATFORM > /out\n'],
  ['ARG: a global one with a platform argument', 'ARG P=$TARGETARCH\nFROM base:1\nARG P\nRUN echo $P > /out\n'],
  ['only what is needed is built', 'FROM base:1 AS broken\nRUN false\nFROM base:1\nRUN echo x > /x\n'],
  ['stages side by side', 'FROM base:1 AS a\nRUN echo a > /a\nFROM base:1 AS b\nRUN echo b > /b\nFROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /\n'],
  ['WORKDIR belongs to the user', 'FROM base:1\nUSER daemon\nWORKDIR /w/x\n'],
]

export const moreCases: readonly BuildCase[] = [
  ...classic.map(([name, dockerfile, more]): BuildCase => ({ name, dockerfile, ...more })),
  ...buildkit.map(([name, dockerfile, more]): BuildCase => ({ name: `buildkit: ${name}`, dockerfile, buildkit: true, ...more })),
]
