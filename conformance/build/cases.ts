/**
 * Dockerfiles of ours for the comparison with dockerd's builders; more stand in `more-cases.ts`. Each starts from `base:1`, a busybox root
 * that both made from the same files, or from scratch.
 */
import { gzipSync } from 'node:zlib'
import { sampleTar, type Sample } from '../../src/oci/layer/archive-samples.ts'
import { some } from './samples.ts'

export interface BuildCase {
  readonly name: string
  /** Judged by the BuildKit inside dockerd: the classic builder does not know it. */
  readonly buildkit?: true
  /** Not built a second time by BuildKit. */
  readonly classicAlone?: true
  /** Lent to the build, by id. */
  readonly secrets?: Readonly<Record<string, string>>
  /** Differences that are meant, as the driver writes them (`config.Cmd: dockerd …, Berth …`), and why. */
  readonly differs?: Readonly<Record<string, string>>
  /** The same, where BuildKit builds it a second time. */
  readonly twinDiffers?: Readonly<Record<string, string>>
  readonly dockerfile: string
  readonly files?: readonly Sample[]
  readonly args?: Readonly<Record<string, string>>
  readonly target?: string
  /** Sent by the CLI from a folder, so that it applies `.dockerignore`; dockerd itself does not. */
  readonly fromFolder?: boolean
  readonly labels?: Readonly<Record<string, string>>
}

const archive = sampleTar([
  { path: 'etc', type: 'directory', mode: 0o755 },
  { path: 'etc/conf', content: 'conf', uid: 3, gid: 4, mode: 0o640 },
  { path: 'etc/alias', type: 'symlink', link: 'conf' },
  { path: 'etc/twin', type: 'hardlink', link: 'etc/conf', mode: 0o640, uid: 3, gid: 4 },
])

export const buildCases: readonly BuildCase[] = [
  { name: 'copy one file', dockerfile: 'FROM scratch\nCOPY a.txt /\n', files: some },
  { name: 'copy a file to a new name', dockerfile: 'FROM scratch\nCOPY a.txt /x/y/z\n', files: some },
  { name: 'copy a folder', dockerfile: 'FROM scratch\nCOPY dir /d\n', files: some },
  { name: 'copy a folder into an existing folder', dockerfile: 'FROM base:1\nRUN mkdir -p -m 711 /d/sub && echo old > /d/run.sh\nCOPY dir /d\n', files: some },
  { name: 'copy the whole context', dockerfile: 'FROM scratch\nCOPY . /app\n', files: some },
  { name: 'copy several with patterns', dockerfile: 'FROM scratch\nCOPY *.txt di[a-r] /m/\n', files: some },
  { name: 'copy through links of the context', dockerfile: 'FROM scratch\nCOPY top-link /t\nCOPY link-to-dir /d\n', files: some },
  { name: 'copy an empty folder', dockerfile: 'FROM scratch\nCOPY empty /e\n', files: some },
  { name: 'copy with an owner', dockerfile: 'FROM base:1\nCOPY --chown=daemon:100 dir /d\nCOPY --chown=7 a.txt /new/a\nCOPY --chown=daemon b.txt /b\n', files: some },
  { name: 'copy over a link of the image', dockerfile: 'FROM base:1\nRUN mkdir /real && ln -s /real /alias && ln -s /real/target /file\nCOPY a.txt /alias/\nCOPY dir /alias/dir\n', files: some },
  { name: 'copy relative to the working folder', dockerfile: 'FROM base:1\nWORKDIR /w\nWORKDIR x\nCOPY a.txt .\nCOPY b.txt sub/\nCOPY a.txt named\n', files: some },
  { name: 'ignored files', fromFolder: true, dockerfile: 'FROM scratch\nCOPY . /\n', files: [...some, { path: '.dockerignore', content: '*\n!dir\ndir/sub\n!dir/sub/deep.txt\n**/other.sh\n' }] },
  { name: 'add an archive', dockerfile: 'FROM base:1\nADD files.tar /in/\nADD files.tgz /zipped\nADD a.txt /plain/\n', files: [...some, { path: 'files.tar', content: archive }, { path: 'files.tgz', content: gzipSync(archive) }] },
  { name: 'run with variables', dockerfile: 'FROM base:1\nENV A=1 B="two words" C=$PATH\nARG D=four\nRUN env | grep -v -e HOSTNAME -e PWD -e SHLVL -e "^_" | sort > /env\n', args: {} },
  { name: 'build arguments and defaults', dockerfile: 'ARG TAG=1\nFROM base:$TAG\nARG A\nARG B=b-$A\nENV E=${A:-none}-${B:+set}-$B\nRUN echo "$A $B $E" > /out\nLABEL l=$E\n', args: { A: 'given' } },
  { name: 'environment forms', dockerfile: "FROM base:1\nENV OLD the rest of it\nENV Q='single $OLD' R=\"double $OLD\" S=es\\ caped T=a\\$b\nENV U=${MISSING:-x}${OLD:+y}\n" },
  { name: 'the same variable twice in a line', dockerfile: 'FROM base:1\nENV a=hello\nENV a=bye b=$a\nENV c=$a\n' },
  { name: 'command and entrypoint', dockerfile: 'FROM base:1\nCMD ["from", "json"]\nENTRYPOINT echo shell form\n' },
  { name: 'entrypoint clears an inherited command', dockerfile: 'FROM with-command:1\nENTRYPOINT ["/bin/e"]\n' },
  { name: 'command of a derived image', dockerfile: 'FROM with-command:1\nCMD shell command $HOME\n' },
  { name: 'metadata', dockerfile: 'FROM base:1\nLABEL a=1 "b c"="d e" multi="x\\\ny"\nEXPOSE 80 443/tcp 53/udp 8000-8002\nVOLUME /data ["/json"]\nVOLUME ["/one", "/two words"]\nSTOPSIGNAL SIGQUIT\nUSER daemon:daemon\nMAINTAINER someone\n', labels: { given: 'label' } },
  { name: 'shell and health check', dockerfile: 'FROM base:1\nSHELL ["/bin/sh", "-e", "-c"]\nRUN echo in shell > /s\nHEALTHCHECK --interval=5s --timeout=1m --retries=2 --start-period=1h CMD ["true"]\nCMD x\n' },
  { name: 'no health check', dockerfile: 'FROM base:1\nHEALTHCHECK CMD exit 0\nHEALTHCHECK NONE\n' },
  { name: 'triggers', dockerfile: 'FROM with-trigger:1\nRUN cat /triggered > /copy\n', files: some },
  { name: 'stages', dockerfile: 'FROM base:1 AS build\nRUN mkdir -p /out/d && echo made > /out/d/f && chown -R 5:6 /out && ln -s d/f /out/l && chmod 640 /out/d/f\nFROM base:1 AS test\nRUN true\nFROM scratch\nCOPY --from=build /out /app\nCOPY --from=0 /out/l /followed\nCOPY --from=build --chown=1:2 /out /owned\nCOPY --from=base:1 /etc/passwd /etc/\n', target: '' },
  { name: 'a target', dockerfile: 'FROM base:1 AS first\nRUN echo 1 > /n\nFROM first AS second\nRUN echo 2 >> /n\nFROM second\nRUN false\n', target: 'second' },
  { name: 'working folder and user', dockerfile: 'FROM base:1\nWORKDIR /a/b\nUSER 1000:1000\nWORKDIR made-by-root\nRUN pwd > /tmp/where; id -u >> /tmp/where\nUSER root\n' },
  { name: 'files that go', dockerfile: 'FROM base:1\nRUN mkdir -p /d/e && touch /d/f /d/e/g && echo keep > /keep\nRUN rm -rf /d && rm /etc/group && mkdir /d && echo new > /d/new\nRUN rm -r /d/new && ln -s /keep /d/new\n' },
  { name: 'kinds of files', dockerfile: 'FROM base:1\nRUN mkfifo /fifo && mknod /null c 1 3 && ln /etc/passwd /etc/twin && chmod 1777 /tmp && touch "/with space" && dd if=/dev/zero of=/sparse bs=1 count=0 seek=100000 2>/dev/null\n' },
  { name: 'comments, continuation, escape', dockerfile: '# escape=`\n# a comment\nFROM base:1\nRUN echo one `\n  # inside\n  && echo two > /two\nENV P=C:`\\dir\n' },
  { name: 'a step that changes nothing', dockerfile: 'FROM base:1\nRUN true\nRUN echo x > /x\nRUN :\n' },
]
