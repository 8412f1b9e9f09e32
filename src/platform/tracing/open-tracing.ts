import type { Config } from '../config/config.js';
import { Tracing } from './tracing.js';

export async function openTracing({ otlpEndpoint, otlpHeaders, otelSampledShare, otelServiceName }: Config): Promise<Tracing> {
  if (otlpEndpoint === undefined) return new Tracing();
  const { OpenTelemetryTracing } = await import('./open-telemetry.js');
  return new OpenTelemetryTracing({ endpoint: otlpEndpoint, headers: otlpHeaders, share: otelSampledShare, serviceName: otelServiceName });
}
