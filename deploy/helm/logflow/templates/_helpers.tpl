{{- define "logflow.name" -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{- end -}}

{{- define "logflow.labels" -}}
app.kubernetes.io/part-of: logflow
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{ include "logflow.selector" . }}
{{- end -}}

{{- define "logflow.selector" -}}
app.kubernetes.io/name: logflow-{{ .part }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end -}}

{{- define "logflow.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "logflow.keySecret" -}}
{{- if .Values.sharedKey.existingSecret -}}{{ .Values.sharedKey.existingSecret }}
{{- else if .Values.sharedKey.generate -}}{{ include "logflow.name" . }}-shared-key
{{- end -}}
{{- end -}}

{{- define "logflow.host" -}}
{{ include "logflow.name" . }}-aggregator.{{ .Release.Namespace }}.svc
{{- end -}}

{{- define "logflow.agentConfig" -}}
data_dir: /var/lib/logflow
log: {level: info, format: json}
admin: {listen: "0.0.0.0:24220"}
sources:
  containers:
    type: tail
    paths: ["/var/log/containers/*.log"]
    # Its own containers: an agent that reports on each line of its own report never ends.
    exclude: {{ concat (list (printf "/var/log/containers/%s-agent-*_%s_*.log" (include "logflow.name" .) .Release.Namespace)) .Values.agent.exclude | toJson }}
    format: auto
    parse: {type: json}
    tag: "kube.{namespace}.{pod}.{container}"
    read_from: beginning
    max_line: 1MiB
    {{- with .Values.agent.multiline }}
    multiline: {presets: {{ toJson . }}}
    {{- end }}
routes:
  {{- with .Values.agent.routes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  - match: "**"
    {{- with .Values.agent.metadata }}
    {{- if .enabled }}
    filters:
      - type: kubernetes
        labels: {{ toJson .labels }}
        annotations: {{ toJson .annotations }}
        namespace_labels: {{ toJson .namespaceLabels }}
    {{- end }}
    {{- end }}
    outputs: [central]
outputs:
  central:
    type: forward
    # Every pod behind the headless Service: found again when their number or addresses change.
    servers: [{dns: "{{ include "logflow.host" . }}:24224"}]
    require_ack: true
    concurrency: 32
    {{- if include "logflow.keySecret" . }}
    shared_key: "${file:/etc/logflow/key/shared_key}"
    {{- end }}
    {{- if .Values.tls.existingSecret }}
    tls: {ca_file: /etc/logflow/tls/ca.crt}
    {{- end }}
    # What is lost with the process still stands in the log files and is read again.
    buffer: {type: memory, limit: 16MiB, when_full: block, chunk_limit: 1MiB}
    retry: {initial: 250ms, max: 2s}
{{- end -}}

{{- define "logflow.aggregatorConfig" -}}
data_dir: /var/lib/logflow
log: {level: info, format: json}
admin: {listen: "0.0.0.0:24220"}
sources:
  agents:
    type: forward
    listen: 0.0.0.0:24224
    {{- if include "logflow.keySecret" . }}
    shared_key: "${file:/etc/logflow/key/shared_key}"
    {{- end }}
    {{- if .Values.tls.existingSecret }}
    tls: {cert_file: /etc/logflow/tls/tls.crt, key_file: /etc/logflow/tls/tls.key}
    {{- end }}
{{- $outputs := .Values.aggregator.outputs | default (dict "archive" (dict "type" "file" "path" "/var/log/logflow/{tag}/%Y-%m-%d.jsonl" "retain" .Values.aggregator.retain "buffer" (dict "type" "disk" "limit" "1GiB" "when_full" "block" "chunk_limit" "2MiB"))) }}
routes:
  {{- if .Values.aggregator.routes }}
  {{- toYaml .Values.aggregator.routes | nindent 2 }}
  {{- else }}
  - match: "**"
    {{- with .Values.aggregator.filters }}
    filters:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    outputs: {{ keys $outputs | sortAlpha | toJson }}
  {{- end }}
outputs:
  {{- toYaml $outputs | nindent 2 }}
{{- end -}}

{{- define "logflow.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 10
  timeoutSeconds: 5
{{- end -}}

{{- define "logflow.secretMounts" -}}
{{- if include "logflow.keySecret" . }}
- {name: key, mountPath: /etc/logflow/key, readOnly: true}
{{- end }}
{{- if .Values.tls.existingSecret }}
- {name: tls, mountPath: /etc/logflow/tls, readOnly: true}
{{- end }}
{{- end -}}

{{- define "logflow.secretVolumes" -}}
{{- with include "logflow.keySecret" . }}
- name: key
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- with .Values.tls.existingSecret }}
- name: tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end -}}
