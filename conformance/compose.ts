/**
 * docker-compose against dockerd and Berth, side by side: the stories of `compose/cases.ts` told to both, and after every step
 * exit code, output and what inspect says of the project's containers, networks and volumes must be equal, but for ids, times
 * and the order of lines. Debian's docker-compose 1.29 is used; `COMPOSE_V2` names the binary of a v2 and adds it. Writes
 * `conformance/results/compose.json`.
 *
 *     COMPOSE_V2=/path/to/docker-compose npm run conformance -- compose
 *
 * `COMPOSE_ONLY` is a project's name.
 */
import { cpSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { runProgram } from '../tools/instance.ts'
import { composeStories, type ComposeStory } from './compose/cases.ts'
import { runSideBySide, type SuiteCase } from './engines/side-by-side.ts'
import { standInImages } from './engines/stand-in-images.ts'
import { projectFacts, steady } from './compose/facts.ts'

interface Tool {
  readonly name: string
  readonly program: string
  readonly separator: string
}

export async function run(): Promise<void> {
  const v2 = process.env['COMPOSE_V2']
  const tools: Tool[] = []
  if (existsSync('/usr/bin/docker-compose')) tools.push({ name: '1.29', program: '/usr/bin/docker-compose', separator: '_' })
  if (v2 !== undefined) tools.push({ name: 'v2', program: v2, separator: '-' })
  if (tools.length === 0) {
    console.log('compose: skipped, there is neither /usr/bin/docker-compose nor COMPOSE_V2')
    return
  }
  await runSideBySide({
    driver: 'compose',
    suite: 'our compose projects, told to docker-compose',
    commit: tools.map(({ name }) => name).join(', '),
    images: () => standInImages([{ names: ['busybox:latest'], command: ['sh'], release: 'busybox' }]),
    dockerdIsRight: true,
    cases: async (_engine, folder) => {
      cpSync(join(import.meta.dirname, 'compose'), folder, { recursive: true })
      const cases: SuiteCase[] = []
      for (const tool of tools) for (const story of composeStories) if ((process.env['COMPOSE_ONLY'] ?? story.project) === story.project) cases.push(...(await tell(tool, story, folder)))
      return cases
    },
  })
}

async function tell(tool: Tool, story: ComposeStory, folder: string): Promise<readonly SuiteCase[]> {
  const cases: SuiteCase[] = []
  const env = { ...process.env, DOCKER_BUILDKIT: '0', COMPOSE_DOCKER_CLI_BUILD: '0', COMPOSE_ANSI: 'never', COMPOSE_PROGRESS: 'plain', FROM_SHELL: 'shell', HOME: folder, COMPOSE_MENU: '0' }
  for (const [index, step] of story.steps.entries()) {
    const words = wordsOf(step)
    const setting = /^([A-Z]+)=(.*)$/.exec(words[0] ?? '')
    const first = words[0] ?? ''
    let found: { readonly exitCode: number; readonly output: string }
    if (first === 'get') found = await get(words[1] ?? '')
    else if (first === 'docker') found = await runProgram(['docker', ...words.slice(1).map((word) => word.replaceAll('_', /_\d$/.test(word) ? tool.separator : '_'))], env)
    else found = await inFolder(join(folder, story.project), [tool.program, ...(setting === null ? words : words.slice(1))], setting === null ? env : { ...env, [setting[1] ?? '']: setting[2] })
    const facts = await projectFacts(story.project)
    const output = steady(found.output).split('\n').filter((line) => line !== '').sort().join('\n')
    const detail = [`exit code ${found.exitCode}`, output, ...facts].join('\n')
    cases.push({ name: `${tool.name} ${story.project} ${String(index + 1).padStart(2, '0')}: ${step}`, verdict: 'passed', detail })
  }
  return cases
}

/** Words of a line; double quotes hold several together, `$$` is a dollar sign. */
function wordsOf(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, bare]) => (quoted ?? bare ?? '').replaceAll('$$', '$'))
}

function inFolder(folder: string, argv: readonly string[], env: NodeJS.ProcessEnv): ReturnType<typeof runProgram> {
  return runProgram(['sh', '-c', 'cd "$0" && exec timeout 90 "$@"', folder, ...argv], env)
}

async function get(url: string): Promise<{ readonly exitCode: number; readonly output: string }> {
  try {
    const response = await fetch(url)
    return { exitCode: 0, output: `${response.status} ${await response.text()}` }
  } catch (error) {
    return { exitCode: 1, output: error instanceof Error ? `${error.message}: ${String(error.cause)}` : String(error) }
  }
}
