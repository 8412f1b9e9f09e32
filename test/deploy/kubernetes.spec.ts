import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { Deployment } from 'kubernetes-models/apps/v1';
import { HorizontalPodAutoscaler } from 'kubernetes-models/autoscaling/v2';
import { Job } from 'kubernetes-models/batch/v1';
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1';
import { ConfigMap, Secret, Service } from 'kubernetes-models/v1';
import { parse } from 'yaml';
import { loadConfig } from '../../src/platform/config/config.js';
import { VARIABLES } from '../../src/platform/config/variables.js';

const FOLDER = 'deploy/kubernetes';

interface Probe {
  httpGet: { path: string; port: string };
}
interface Container {
  name: string;
  image: string;
  command?: string[];
  ports?: { name: string; containerPort: number }[];
  envFrom: { configMapRef?: { name: string }; secretRef?: { name: string } }[];
  startupProbe: Probe;
  readinessProbe: Probe;
  livenessProbe: Probe;
}
interface Template {
  metadata: { labels: Record<string, string> };
  spec: { terminationGracePeriodSeconds: number; containers: [Container] };
}
interface Manifest {
  kind: string;
  metadata: { name: string };
  spec: { template: Template; selector: unknown; scaleTargetRef: unknown; ports: { targetPort: string }[] };
  data: Record<string, string>;
  stringData: Record<string, string>;
  resources: string[];
}

/** Kubernetes' own schemas. */
const KINDS = { Deployment, Service, PodDisruptionBudget, HorizontalPodAutoscaler, Job, ConfigMap, Secret };
type Kind = keyof typeof KINDS;

const files = readdirSync(FOLDER).filter((name) => name !== 'kustomization.yaml');
const read = (name: string) => parse(readFileSync(path.join(FOLDER, name), 'utf8')) as Manifest;
const manifests = Object.fromEntries(files.map((name) => [read(name).kind, read(name)])) as Record<Kind, Manifest>;
const validate = (manifest: Manifest) => new KINDS[manifest.kind as Kind](manifest as never).validate();

describe('the manifests of Kubernetes', () => {
  it.each(files)('%s follows the schema of its kind', (name) => {
    expect(() => validate(read(name))).not.toThrow();
  });

  it('would be refused with a wrong field', () => {
    const wrong = structuredClone(manifests.Deployment);
    Object.assign(wrong.spec.template.spec.containers[0].readinessProbe.httpGet, { port: ['http'] });
    expect(() => validate(wrong)).toThrow(/port/);
  });

  const { template } = manifests.Deployment.spec;
  const [container] = template.spec.containers;
  const [migrations] = manifests.Job.spec.template.spec.containers;

  it('start with the variables of the configuration, and nothing else', () => {
    const given = { ...manifests.ConfigMap.data, ...manifests.Secret.stringData };
    const known = Object.values(VARIABLES).map(({ name }) => name as string);
    expect(Object.keys(given).filter((name) => !known.includes(name))).toEqual([]);
    // The example holds no secret.
    expect(Object.values(manifests.Secret.stringData).filter((value) => value !== '')).toEqual([]);
    const secrets = {
      DATABASE_URL: 'postgres://db/tenantry',
      AUTH_SECRET: 'x'.repeat(32),
      ENCRYPTION_KEYS: `k1:${Buffer.alloc(32).toString('base64')}`,
    };
    const config = loadConfig({ ...given, ...secrets });
    expect(config.isProduction).toBe(true);
    expect(container.ports![0]!.containerPort).toBe(config.port);
    expect(template.spec.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(
      config.shutdownDelaySeconds + config.shutdownTimeoutSeconds + 5,
    );
    for (const { envFrom } of [container, migrations])
      expect(envFrom).toEqual([
        { configMapRef: { name: manifests.ConfigMap.metadata.name } },
        { secretRef: { name: manifests.Secret.metadata.name } },
      ]);
  });

  it('ask for the health that the API has, on the port that has a name', () => {
    const { paths } = JSON.parse(readFileSync('openapi.json', 'utf8')) as { paths: Record<string, object> };
    const probes = [container.startupProbe, container.readinessProbe, container.livenessProbe].map(({ httpGet }) => httpGet);
    expect(probes.map((probe) => probe.path)).toEqual(['/health/live', '/health/ready', '/health/live']);
    for (const probe of probes) expect([probe.path in paths, probe.port]).toEqual([true, container.ports![0]!.name]);
    expect(manifests.Service.spec.ports[0]!.targetPort).toBe(container.ports![0]!.name);
  });

  it('select the pods of the deployment, and not those of migrations', () => {
    const { labels } = template.metadata;
    const { selector } = manifests.Deployment.spec;
    expect(selector).toEqual({ matchLabels: labels });
    expect(manifests.PodDisruptionBudget.spec.selector).toEqual(selector);
    expect(manifests.Service.spec.selector).toEqual(labels);
    expect(manifests.HorizontalPodAutoscaler.spec.scaleTargetRef).toMatchObject({
      kind: 'Deployment',
      name: manifests.Deployment.metadata.name,
    });
    expect(manifests.Job.spec.template.metadata.labels).not.toMatchObject(labels);
  });

  it('are all applied but the secret and the job, which come before', () => {
    const applied = new Set(read('kustomization.yaml').resources);
    expect(files.filter((name) => !applied.has(name))).toEqual(['migrations.yaml', 'secret.example.yaml']);
    expect(migrations.image).toBe(container.image);
  });
});
