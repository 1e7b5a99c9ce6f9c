/** The `berth` command: resolves the configuration and hands over to the command line. */
import { join } from 'node:path'
import { homedir } from 'node:os'
import { systemClock } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import { runProgram } from '#cli/program.ts'
import { processTerminal } from '#cli/terminal.ts'
import { type ResolvedConfig, resolveConfig } from './config/config.ts'
import { version } from './config/version.ts'

const terminal = processTerminal(systemClock)

async function main(resolved: ResolvedConfig): Promise<number> {
  const { config } = resolved
  return await runProgram(process.argv.slice(2), {
    terminal,
    version,
    endpoints: {
      dockerSocket: config.paths.dockerSocket,
      kubeconfig: config.paths.kubeconfig,
      registryCredentials: [config.paths.registryAuth, join(process.env['DOCKER_CONFIG'] ?? join(homedir(), '.docker'), 'config.json')],
      credentialHelper: async (argv, input) => await (await import('./lifecycle/credential-helper.ts')).runCredentialHelper(argv, input),
    },
    lifecycle: {
      up: async (options) => (await import('./lifecycle/up.ts')).up(config, terminal, options),
      down: async (options) => (await import('./lifecycle/down.ts')).down(config, terminal, options),
      status: async (options) => (await import('./lifecycle/status.ts')).status(resolved, terminal, options),
      serveRegistry: async (path) => (await import('./registry/serve.ts')).serveRegistry(path),
      collectRegistry: async (host) => (await import('./registry/collect.ts')).collectRegistry(config, terminal, host),
      viewConfig: async (options) => (await import('./lifecycle/status.ts')).viewConfig(resolved, terminal, options),
    },
  })
}

try {
  process.exitCode = await main(resolveConfig({}, process.env))
} catch (error) {
  if (!(error instanceof Fault)) throw error
  console.error(`berth: ${error.message}`)
  process.exitCode = 1
}
