import type {Dashboard,Panel,RowPanel} from './node_modules/@grafana/schema/dist/types/raw/dashboard/x/types.gen';
import type * as stat from './node_modules/@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen';
import type * as tl from './node_modules/@grafana/schema/dist/types/raw/composable/statetimeline/panelcfg/x/types.gen';
import type * as ts from './node_modules/@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen';
import type * as tb from './node_modules/@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen';
type Loose<T> = T extends string ? `${T}` : T extends number|boolean|null|undefined ? T : T extends (infer U)[] ? Loose<U>[] : T extends object ? {[K in keyof T]: Loose<T[K]>} : T;
const board: Loose<Dashboard> = {
 "id": null,
 "uid": "sse-edge",
 "title": "sse_edge",
 "description": "Streams, admission, delivery, Redis and workers of sse_edge. How to import it and what it shows: deploy/DASHBOARD.md",
 "tags": [
  "sse_edge"
 ],
 "schemaVersion": 39,
 "version": 1,
 "editable": true,
 "graphTooltip": 1,
 "refresh": "30s",
 "timezone": "browser",
 "time": {
  "from": "now-1h",
  "to": "now"
 },
 "timepicker": {},
 "fiscalYearStartMonth": 0,
 "weekStart": "",
 "links": [],
 "annotations": {
  "list": [
   {
    "builtIn": 1,
    "datasource": {
     "type": "grafana",
     "uid": "-- Grafana --"
    },
    "enable": true,
    "hide": true,
    "iconColor": "rgba(0, 211, 255, 1)",
    "name": "Annotations & Alerts",
    "type": "dashboard"
   },
   {
    "name": "Alerts",
    "datasource": {
     "type": "prometheus",
     "uid": "${datasource}"
    },
    "enable": false,
    "hide": false,
    "iconColor": "red",
    "expr": "ALERTS{alertname=~\"SseEdge.*\", alertstate=\"firing\"}",
    "titleFormat": "{{alertname}}",
    "textFormat": "{{instance}}",
    "step": "60s"
   }
  ]
 },
 "templating": {
  "list": [
   {
    "name": "datasource",
    "label": "Prometheus",
    "type": "datasource",
    "query": "prometheus",
    "refresh": 1,
    "regex": "",
    "multi": false,
    "includeAll": false,
    "options": [],
    "hide": 0
   },
   {
    "name": "job",
    "label": "Job",
    "description": "job_name in Prometheus; choose one of them where several applications are scraped",
    "type": "query",
    "datasource": {
     "type": "prometheus",
     "uid": "${datasource}"
    },
    "query": {
     "qryType": 1,
     "query": "label_values(sse_edge_workers, job)",
     "refId": "PrometheusVariableQueryEditor-VariableQuery"
    },
    "definition": "label_values(sse_edge_workers, job)",
    "refresh": 2,
    "sort": 3,
    "multi": true,
    "includeAll": true,
    "allValue": ".*",
    "current": {
     "selected": true,
     "text": [
      "All"
     ],
     "value": [
      "$__all"
     ]
    },
    "options": [],
    "hide": 0
   },
   {
    "name": "instance",
    "label": "Server",
    "description": "Targets",
    "type": "query",
    "datasource": {
     "type": "prometheus",
     "uid": "${datasource}"
    },
    "query": {
     "qryType": 1,
     "query": "label_values(sse_edge_workers{job=~\"$job\"}, instance)",
     "refId": "PrometheusVariableQueryEditor-VariableQuery"
    },
    "definition": "label_values(sse_edge_workers{job=~\"$job\"}, instance)",
    "refresh": 2,
    "sort": 3,
    "multi": true,
    "includeAll": true,
    "allValue": ".*",
    "current": {
     "selected": true,
     "text": [
      "All"
     ],
     "value": [
      "$__all"
     ]
    },
    "options": [],
    "hide": 0
   },
   {
    "name": "worker",
    "label": "Worker",
    "description": "Where a server is scraped with ?by=worker; otherwise there is only All",
    "type": "query",
    "datasource": {
     "type": "prometheus",
     "uid": "${datasource}"
    },
    "query": {
     "qryType": 1,
     "query": "label_values(sse_edge_workers{job=~\"$job\", instance=~\"$instance\"}, worker)",
     "refId": "PrometheusVariableQueryEditor-VariableQuery"
    },
    "definition": "label_values(sse_edge_workers{job=~\"$job\", instance=~\"$instance\"}, worker)",
    "refresh": 2,
    "sort": 3,
    "multi": true,
    "includeAll": true,
    "allValue": ".*",
    "current": {
     "selected": true,
     "text": [
      "All"
     ],
     "value": [
      "$__all"
     ]
    },
    "options": [],
    "hide": 0
   }
  ]
 }
};
const p0: Loose<Panel> = {
 "id": 1,
 "type": "stat",
 "title": "Streams",
 "description": "Open streams of all that is chosen above.",
 "datasource": {
  "type": "prometheus",
  "uid": "${datasource}"
 },
 "gridPos": {
  "x": 0,
  "y": 0,
  "w": 3,
  "h": 4
 },
 "targets": [
  {
   "refId": "A",
   "expr": "sum(sse_edge_streams{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"})",
   "legendFormat": "Streams"
  }
 ],
 "fieldConfig": {
  "defaults": {
   "unit": "short",
   "noValue": "no data: is Prometheus scraping the edge? deploy/DASHBOARD.md says how",
   "thresholds": {
    "mode": "absolute",
    "steps": [
     {
      "color": "text",
      "value": null
     }
    ]
   },
   "color": {
    "mode": "thresholds"
   }
  },
  "overrides": []
 }
};
const o0: Loose<Partial<stat.Options>> = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false}, "colorMode": "value", "graphMode": "area", "textMode": "value", "justifyMode": "auto", "orientation": "auto"};
const p1: Loose<Panel> = {
 "id": 2,
 "type": "stat",
 "title": "Workers",
 "description": "Workers that answered the last scrape. Fewer than you started: look at the log of the server, and at targets that are down in Prometheus.",
 "datasource": {
  "type": "prometheus",
  "uid": "${datasource}"
 },
 "gridPos": {
  "x": 3,
  "y": 0,
  "w": 3,
  "h": 4
 },
 "targets": [
  {
   "refId": "A",
   "expr": "sum(sse_edge_workers{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"})",
   "legendFormat": "Workers"
  }
 ],
 "fieldConfig": {
  "defaults": {
   "unit": "short",
   "noValue": "no data: is Prometheus scraping the edge? deploy/DASHBOARD.md says how",
   "thresholds": {
    "mode": "absolute",
    "steps": [
     {
      "color": "red",
      "value": null
     },
     {
      "color": "text",
      "value": 1
     }
    ]
   },
   "color": {
    "mode": "thresholds"
   }
  },
  "overrides": []
 }
};
const o1: Loose<Partial<stat.Options>> = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false}, "colorMode": "value", "graphMode": "area", "textMode": "value", "justifyMode": "auto", "orientation": "auto"};
const p2: Loose<Panel> = {
 "id": 3,
 "type": "stat",
 "title": "Events arrive",
 "description": "Whether every worker hears Redis. If not: redis-cli ping, and Redis's log. Streams stay open meanwhile, new ones are refused, and what is published is kept for history_ttl.",
 "datasource": {
  "type": "prometheus",
  "uid": "${datasource}"
 },
 "gridPos": {
  "x": 6,
  "y": 0,
  "w": 3,
  "h": 4
 },
 "targets": [
  {
   "refId": "A",
   "expr": "min(sse_edge_connected{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"})",
   "legendFormat": "Events arrive"
  }
 ],
 "fieldConfig": {
  "defaults": {
   "unit": "short",
   "noValue": "no data: is Prometheus scraping the edge? deploy/DASHBOARD.md says how",
   "thresholds": {
    "mode": "absolute",
    "steps": [
     {
      "color": "text",
      "value": null
     }
    ]
   },
   "color": {
    "mode": "thresholds"
   },
   "mappings": [
    {
     "type": "value",
     "options": {
      "0": {
       "text": "no",
       "color": "red"
      },
      "1": {
       "text": "yes",
       "color": "green"
      }
     }
    }
   ]
  },
  "overrides": []
 }
};
const o2: Loose<Partial<stat.Options>> = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false}, "colorMode": "value", "graphMode": "none", "textMode": "value", "justifyMode": "auto", "orientation": "auto"};
const p3: Loose<Panel> = {
 "id": 4,
 "type": "stat",
 "title": "Servers ready",
 "description": "How many of the servers take new streams. Less than all: one drains or hears nothing from Redis; during a rolling restart that is as it should be.",
 "datasource": {
  "type": "prometheus",
  "uid": "${datasource}"
 },
 "gridPos": {
  "x": 9,
  "y": 0,
  "w": 3,
  "h": 4
 },
 "targets": [
  {
   "refId": "A",
   "expr": "avg(sse_edge_ready{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"})",
   "legendFormat": "Servers ready"
  }
 ],
 "fieldConfig": {
  "defaults": {
   "unit": "percentunit",
   "noValue": "no data: is Prometheus scraping the edge? deploy/DASHBOARD.md says how",
   "thresholds": {
    "mode": "absolute",
    "steps": [
     {
      "color": "red",
      "value": null
     },
     {
      "color": "orange",
      "value": 0.5
     },
     {
      "color": "green",
      "value": 1
     }
    ]
   },
   "color": {
    "mode": "thresholds"
   },
   "decimals": 0,
   "min": 0
  },
  "overrides": []
 }
};
const o3: Loose<Partial<stat.Options>> = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false}, "colorMode": "value", "graphMode": "area", "textMode": "value", "justifyMode": "auto", "orientation": "auto"};
const p4: Loose<Panel> = {
 "id": 5,
 "type": "stat",
 "title": "Refused",
 "description": "Share of the requests for streams that were refused. Look at the codes below. Clients that have nothing left to hear (204) are not counted.",
 "datasource": {
  "type": "prometheus",
  "uid": "${datasource}"
 },
 "gridPos": {
  "x": 12,
  "y": 0,
  "w": 3,
  "h": 4
 },
 "targets": [
  {
   "refId": "A",
   "expr": "sum(rate(sse_edge_refusals_total{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\", code!=\"finished\"}[$__rate_interval])) / clamp_min(sum(rate(sse_edge_refusals_total{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\", code!=\"finished\"}[$__rate_interval])) + sum(rate(sse_edge_streams_opened_total{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"}[$__rate_interval])), 0.001)",
   "legendFormat": "Refused"
  }
 ],
 "fieldConfig": {
  "defaults": {
   "unit": "percentunit",
   "noValue": "no data: is Prometheus scraping the edge? deploy/DASHBOARD.md says how",
   "thresholds": {
    "mode": "absolute",
    "steps": [
     {
      "color": "green",
      "value": null
     },
     {
      "color": "orange",
      "value": 0.05
     },
     {
      "color": "red",
      "value": 0.2
     }
    ]
   },
   "color": {
    "mode": "thresholds"
   },
   "min": 0
  },
  "overrides": []
 }
};
const o4: Loose<Partial<stat.Options>> = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false}, "colorMode": "value", "graphMode": "area", "textMode": "value", "justifyMode": "auto", "orientation": "auto"};
const p5: Loose<Panel> = {
 "id": 6,
 "type": "stat",
 "title": "Written after (95 %)",
 "description": "Within this time 95 of 100 events were written after they were published. Seconds here: busy workers, or a slow Redis.",
 "datasource": {
  "type": "prometheus",
  "uid": "${datasource}"
 },
 "gridPos": {
  "x": 15,
  "y": 0,
  "w": 3,
  "h": 4
 },
 "targets": [
  {
   "refId": "A",
   "expr": "histogram_quantile(0.95, sum by (le) (rate(sse_edge_delivery_seconds_bucket{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"}[$__rate_interval]))) >= 0",
   "legendFormat": "Written after (95 %)"
  }
 ],
 "fieldConfig": {
  "defaults": {
   "unit": "s",
   "noValue": "no event yet",
   "thresholds": {
    "mode": "absolute",
    "steps": [
     {
      "color": "green",
      "value": null
     },
     {
      "color": "orange",
      "value": 0.5
     },
     {
      "color": "red",
      "value": 2
     }
    ]
   },
   "color": {
    "mode": "thresholds"
   },
   "min": 0
  },
  "overrides": []
 }
};
const o5: Loose<Partial<stat.Options>> = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false}, "colorMode": "value", "graphMode": "area", "textMode": "value", "justifyMode": "auto", "orientation": "auto"};
const p6: Loose<Panel> = {
 "id": 7,
 "type": "stat",
 "title": "Position age",
 "description": "How long ago a worker last knew that it had everything, where that is longest: a few seconds, since it asks every five. It grows while Redis is away or slow; what then cannot be proven complete is said to clients as edge-reset.",
 "datasource": {
  "type": "prometheus",
  "uid": "${datasource}"
 },
 "gridPos": {
  "x": 18,
  "y": 0,
  "w": 3,
  "h": 4
 },
 "targets": [
  {
   "refId": "A",
   "expr": "max(sse_edge_position_age_seconds{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"})",
   "legendFormat": "Position age"
  }
 ],
 "fieldConfig": {
  "defaults": {
   "unit": "s",
   "noValue": "no data: is Prometheus scraping the edge? deploy/DASHBOARD.md says how",
   "thresholds": {
    "mode": "absolute",
    "steps": [
     {
      "color": "green",
      "value": null
     },
     {
      "color": "orange",
      "value": 15
     },
     {
      "color": "red",
      "value": 30
     }
    ]
   },
   "color": {
    "mode": "thresholds"
   },
   "min": 0
  },
  "overrides": []
 }
};
const o6: Loose<Partial<stat.Options>> = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false}, "colorMode": "value", "graphMode": "area", "textMode": "value", "justifyMode": "auto", "orientation": "auto"};
const p7: Loose<Panel> = {
 "id": 8,
 "type": "stat",
 "title": "Alerts",
 "description": "Alerts of deploy/alerts.yaml that fire now; the guide says what to do for each (deploy/TUNING.md, Monitoring and alerts). 0 also where Prometheus has not loaded them.",
 "datasource": {
  "type": "prometheus",
  "uid": "${datasource}"
 },
 "gridPos": {
  "x": 21,
  "y": 0,
  "w": 3,
  "h": 4
 },
 "targets": [
  {
   "refId": "A",
   "expr": "count(ALERTS{alertname=~\"SseEdge.*\", alertstate=\"firing\"}) or vector(0)",
   "legendFormat": "Alerts"
  }
 ],
 "fieldConfig": {
  "defaults": {
   "unit": "short",
   "noValue": "no data: is Prometheus scraping the edge? deploy/DASHBOARD.md says how",
   "thresholds": {
    "mode": "absolute",
    "steps": [
     {
      "color": "green",
      "value": null
     },
     {
      "color": "red",
      "value": 1
     }
    ]
   },
   "color": {
    "mode": "thresholds"
   }
  },
  "overrides": []
 }
};
const o7: Loose<Partial<stat.Options>> = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false}, "colorMode": "value", "graphMode": "none", "textMode": "value", "justifyMode": "auto", "orientation": "auto"};
const p8: Loose<Panel> = {
 "id": 9,
 "type": "state-timeline",
 "title": "What is wrong, and where",
 "description": "Only what is not as it should be has a line: a target that does not answer (for seconds when it is restarted), one that hears nothing from Redis or takes no new streams, limits that count in a worker alone, writes that Redis does not take.",
 "datasource": {
  "type": "prometheus",
  "uid": "${datasource}"
 },
 "gridPos": {
  "x": 0,
  "y": 4,
  "w": 12,
  "h": 8
 },
 "targets": [
  {
   "refId": "A",
   "expr": "up{job=~\"$job\", instance=~\"$instance\"} == 0 and on (job) max_over_time(sse_edge_workers{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"}[1h])",
   "legendFormat": "{{instance}} does not answer"
  },
  {
   "refId": "B",
   "expr": "sse_edge_connected{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"} == 0",
   "legendFormat": "{{instance}} {{worker}} hears nothing"
  },
  {
   "refId": "C",
   "expr": "sse_edge_ready{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"} == 0 and sse_edge_connected{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"} == 1",
   "legendFormat": "{{instance}} {{worker}} takes no streams"
  },
  {
   "refId": "D",
   "expr": "sse_edge_degraded{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"} == 1",
   "legendFormat": "{{instance}} {{worker}} degraded: {{limit}}"
  }
 ],
 "fieldConfig": {
  "defaults": {
   "noValue": "nothing: all that is scraped answers, hears Redis, takes streams and counts together",
   "color": {
    "mode": "thresholds"
   },
   "thresholds": {
    "mode": "absolute",
    "steps": [
     {
      "color": "red",
      "value": null
     }
    ]
   },
   "mappings": [
    {
     "type": "value",
     "options": {
      "0": {
       "text": "so",
       "color": "red"
      },
      "1": {
       "text": "so",
       "color": "orange"
      }
     }
    }
   ]
  },
  "overrides": []
 }
};
const o8: Loose<Partial<tl.Options>> = {"mergeValues": true, "showValue": "never", "alignValue": "left", "rowHeight": 0.8, "legend": {"displayMode": "list", "placement": "bottom", "showLegend": false, "calcs": []}, "tooltip": {"mode": "single", "sort": "none"}};
const c8: Loose<Partial<tl.FieldConfig>> = {"fillOpacity": 80, "lineWidth": 0};
const p9: Loose<Panel> = {
 "id": 10,
 "type": "state-timeline",
 "title": "Alerts that fired",
 "description": "Alerts of deploy/alerts.yaml; the guide says what to do for each.",
 "datasource": {
  "type": "prometheus",
  "uid": "${datasource}"
 },
 "gridPos": {
  "x": 12,
  "y": 4,
  "w": 12,
  "h": 8
 },
 "targets": [
  {
   "refId": "A",
   "expr": "max by (alertname, severity) (ALERTS{alertname=~\"SseEdge.*\", alertstate=\"firing\"})",
   "legendFormat": "{{alertname}} ({{severity}})"
  }
 ],
 "fieldConfig": {
  "defaults": {
   "noValue": "no alert fired (or Prometheus has not loaded deploy/alerts.yaml)",
   "color": {
    "mode": "thresholds"
   },
   "thresholds": {
    "mode": "absolute",
    "steps": [
     {
      "color": "red",
      "value": null
     }
    ]
   },
   "mappings": [
    {
     "type": "value",
     "options": {
      "1": {
       "text": "fires",
       "color": "red"
      }
     }
    }
   ]
  },
  "overrides": []
 }
};
const o9: Loose<Partial<tl.Options>> = {"mergeValues": true, "showValue": "never", "alignValue": "left", "rowHeight": 0.8, "legend": {"displayMode": "list", "placement": "bottom", "showLegend": false, "calcs": []}, "tooltip": {"mode": "single", "sort": "none"}};
const c9: Loose<Partial<tl.FieldConfig>> = {"fillOpacity": 80, "lineWidth": 0};
const r10: Loose<RowPanel> = {"id": 11, "type": "row", "title": "Streams", "collapsed": false, "gridPos": {"x": 0, "y": 12, "w": 24, "h": 1}, "panels": []};
const p11: Loose<Panel> = {
 "id": 12,
 "type": "timeseries",
 "title": "Open streams",
 "description": "Users and channels are counted by each worker that has one of them, so with several workers these two are upper bounds.",
 "datasource": {
  "type": "prometheus",
  "uid": "${datasource}"
 },
 "gridPos": {
  "x": 0,
  "y": 13,
  "w": 12,
  "h": 8
 },
 "targets": [
  {
   "refId": "A",
   "expr": "sum(sse_edge_streams{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"})",
   "legendFormat": "streams"
  },
  {
   "refId": "B",
   "expr": "sum(sse_edge_users{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"})",
   "legendFormat": "users, at most"
  },
  {
   "refId": "C",
   "expr": "sum(sse_edge_channels{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"})",
   "legendFormat": "channels, at most"
  }
 ],
 "fieldConfig": {
  "defaults": {
   "unit": "short",
   "noValue": "no data: is Prometheus scraping the edge? deploy/DASHBOARD.md says how",
   "color": {
    "mode": "palette-classic"
   },
   "min": 0
  },
  "overrides": []
 }
};
const o11: Loose<Partial<ts.Options>> = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []}, "tooltip": {"mode": "multi", "sort": "desc"}};
const c11: Loose<Partial<ts.FieldConfig>> = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": false, "stacking": {"mode": "none", "group": "A"}};
const p12: Loose<Panel> = {
 "id": 13,
 "type": "timeseries",
 "title": "Open streams by channel pattern",
 "description": "A stream that hears channels of several patterns counts for each. The patterns are those that the application was given, so there are few, however many channels there are.",
 "datasource": {
  "type": "prometheus",
  "uid": "${datasource}"
 },
 "gridPos": {
  "x": 12,
  "y": 13,
  "w": 12,
  "h": 8
 },
 "targets": [
  {
   "refId": "A",
   "expr": "sum by (pattern) (sse_edge_pattern_streams{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"})",
   "legendFormat": "{{pattern}}"
  }
 ],
 "fieldConfig": {
  "defaults": {
   "unit": "short",
   "noValue": "no data: is Prometheus scraping the edge? deploy/DASHBOARD.md says how",
   "color": {
    "mode": "palette-classic"
   },
   "min": 0
  },
  "overrides": []
 }
};
const o12: Loose<Partial<ts.Options>> = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []}, "tooltip": {"mode": "multi", "sort": "desc"}};
const c12: Loose<Partial<ts.FieldConfig>> = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 30, "showPoints": "never", "spanNulls": false, "stacking": {"mode": "normal", "group": "A"}};
const p13: Loose<Panel> = {
 "id": 14,
 "type": "timeseries",
 "title": "Opened and ended",
 "description": "Both high, with as many open as before: something cuts streams again and again, such as a time-out on the way that is shorter than keep_alive. Each poll is one that is opened and one that ends.",
 "datasource": {
  "type": "prometheus",
  "uid": "${datasource}"
 },
 "gridPos": {
  "x": 0,
  "y": 21,
  "w": 12,
  "h": 8
 },
 "targets": [
  {
   "refId": "A",
   "expr": "sum(rate(sse_edge_streams_opened_total{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"}[$__rate_interval]))",
   "legendFormat": "opened"
  },
  {
   "refId": "B",
   "expr": "-sum(rate(sse_edge_endings_total{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"}[$__rate_interval]))",
   "legendFormat": "ended"
  }
 ],
 "fieldConfig": {
  "defaults": {
   "unit": "ops",
   "noValue": "no data: is Prometheus scraping the edge? deploy/DASHBOARD.md says how",
   "color": {
    "mode": "palette-classic"
   }
  },
  "overrides": [
   {
    "matcher": {
     "id": "byName",
     "options": "opened"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "green"
      }
     }
    ]
   },
   {
    "matcher": {
     "id": "byName",
     "options": "ended"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "orange"
      }
     }
    ]
   }
  ]
 }
};
const o13: Loose<Partial<ts.Options>> = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []}, "tooltip": {"mode": "multi", "sort": "desc"}};
const c13: Loose<Partial<ts.FieldConfig>> = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 25, "showPoints": "never", "spanNulls": false, "stacking": {"mode": "none", "group": "A"}};
const p14: Loose<Panel> = {
 "id": 15,
 "type": "timeseries",
 "title": "Ended, by reason",
 "description": "client-gone, max-duration and answered are ordinary, drain belongs to a restart. slow: clients that do not read. error and backend-lost: the log of the worker has the reason. What a server ends in its last seconds, after it stopped to listen, no scrape sees.",
 "datasource": {
  "type": "prometheus",
  "uid": "${datasource}"
 },
 "gridPos": {
  "x": 12,
  "y": 21,
  "w": 12,
  "h": 8
 },
 "targets": [
  {
   "refId": "A",
   "expr": "sum by (reason) (rate(sse_edge_endings_total{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"}[$__rate_interval])) > 0",
   "legendFormat": "{{reason}}"
  }
 ],
 "fieldConfig": {
  "defaults": {
   "unit": "ops",
   "noValue": "none ended",
   "color": {
    "mode": "palette-classic"
   },
   "min": 0
  },
  "overrides": [
   {
    "matcher": {
     "id": "byName",
     "options": "client-gone"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "blue"
      }
     }
    ]
   },
   {
    "matcher": {
     "id": "byName",
     "options": "max-duration"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "green"
      }
     }
    ]
   },
   {
    "matcher": {
     "id": "byName",
     "options": "answered"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "super-light-blue"
      }
     }
    ]
   },
   {
    "matcher": {
     "id": "byName",
     "options": "drain"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "yellow"
      }
     }
    ]
   },
   {
    "matcher": {
     "id": "byName",
     "options": "slow"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "orange"
      }
     }
    ]
   },
   {
    "matcher": {
     "id": "byName",
     "options": "error"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "red"
      }
     }
    ]
   },
   {
    "matcher": {
     "id": "byName",
     "options": "backend-lost"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "dark-red"
      }
     }
    ]
   }
  ]
 }
};
const o14: Loose<Partial<ts.Options>> = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []}, "tooltip": {"mode": "multi", "sort": "desc"}};
const c14: Loose<Partial<ts.FieldConfig>> = {"drawStyle": "bars", "lineWidth": 0, "fillOpacity": 80, "showPoints": "never", "spanNulls": false, "stacking": {"mode": "normal", "group": "A"}};
const r15: Loose<RowPanel> = {"id": 16, "type": "row", "title": "Admission", "collapsed": false, "gridPos": {"x": 0, "y": 29, "w": 24, "h": 1}, "panels": []};
const p16: Loose<Panel> = {
 "id": 17,
 "type": "timeseries",
 "title": "Refused, by code",
 "description": "unauthenticated, origin, forbidden: a deploy that changed them, or somebody who tries. user-limit, ip-limit, connect-rate: all from one address means that trusted_proxies is missing. worker-full: more workers. backend-down: Redis. README, Refusals, has each.",
 "datasource": {
  "type": "prometheus",
  "uid": "${datasource}"
 },
 "gridPos": {
  "x": 0,
  "y": 30,
  "w": 12,
  "h": 8
 },
 "targets": [
  {
   "refId": "A",
   "expr": "sum by (code) (rate(sse_edge_refusals_total{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"}[$__rate_interval])) > 0",
   "legendFormat": "{{code}}"
  }
 ],
 "fieldConfig": {
  "defaults": {
   "unit": "ops",
   "noValue": "none refused",
   "color": {
    "mode": "palette-classic"
   },
   "min": 0
  },
  "overrides": [
   {
    "matcher": {
     "id": "byName",
     "options": "worker-full"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "dark-red"
      }
     }
    ]
   },
   {
    "matcher": {
     "id": "byName",
     "options": "backend-down"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "red"
      }
     }
    ]
   },
   {
    "matcher": {
     "id": "byName",
     "options": "draining"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "purple"
      }
     }
    ]
   },
   {
    "matcher": {
     "id": "byName",
     "options": "finished"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "green"
      }
     }
    ]
   }
  ]
 }
};
const o16: Loose<Partial<ts.Options>> = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []}, "tooltip": {"mode": "multi", "sort": "desc"}};
const c16: Loose<Partial<ts.FieldConfig>> = {"drawStyle": "bars", "lineWidth": 0, "fillOpacity": 80, "showPoints": "never", "spanNulls": false, "stacking": {"mode": "normal", "group": "A"}};
const p17: Loose<Panel> = {
 "id": 18,
 "type": "timeseries",
 "title": "Time to let in",
 "description": "From a request to the first bytes of its stream, or to its refusal: your auth and authorize, the limits and the subscription in Redis. As exact as the buckets of the histogram.",
 "datasource": {
  "type": "prometheus",
  "uid": "${datasource}"
 },
 "gridPos": {
  "x": 12,
  "y": 30,
  "w": 12,
  "h": 8
 },
 "targets": [
  {
   "refId": "A",
   "expr": "histogram_quantile(0.5, sum by (le) (rate(sse_edge_admission_seconds_bucket{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\", outcome=\"accepted\"}[$__rate_interval]))) >= 0",
   "legendFormat": "half of those let in"
  },
  {
   "refId": "B",
   "expr": "histogram_quantile(0.95, sum by (le) (rate(sse_edge_admission_seconds_bucket{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\", outcome=\"accepted\"}[$__rate_interval]))) >= 0",
   "legendFormat": "95 % of those let in"
  },
  {
   "refId": "C",
   "expr": "histogram_quantile(0.95, sum by (le) (rate(sse_edge_admission_seconds_bucket{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\", outcome=\"refused\"}[$__rate_interval]))) >= 0",
   "legendFormat": "95 % of those refused"
  }
 ],
 "fieldConfig": {
  "defaults": {
   "unit": "s",
   "noValue": "nobody asked",
   "color": {
    "mode": "palette-classic"
   },
   "min": 0,
   "thresholds": {
    "mode": "absolute",
    "steps": [
     {
      "color": "transparent",
      "value": null
     },
     {
      "color": "red",
      "value": 0.5
     }
    ]
   }
  },
  "overrides": []
 }
};
const o17: Loose<Partial<ts.Options>> = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []}, "tooltip": {"mode": "multi", "sort": "desc"}};
const c17: Loose<Partial<ts.FieldConfig>> = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": false, "stacking": {"mode": "none", "group": "A"}, "thresholdsStyle": {"mode": "dashed"}};
const r18: Loose<RowPanel> = {"id": 19, "type": "row", "title": "Delivery", "collapsed": false, "gridPos": {"x": 0, "y": 38, "w": 24, "h": 1}, "panels": []};
const p19: Loose<Panel> = {
 "id": 20,
 "type": "timeseries",
 "title": "Events written, by channel pattern",
 "description": "An event is counted once for each stream that it is written to; the line is all of them. This is what the CPU goes into.",
 "datasource": {
  "type": "prometheus",
  "uid": "${datasource}"
 },
 "gridPos": {
  "x": 0,
  "y": 39,
  "w": 12,
  "h": 8
 },
 "targets": [
  {
   "refId": "A",
   "expr": "sum by (pattern) (rate(sse_edge_pattern_events_total{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"}[$__rate_interval]))",
   "legendFormat": "{{pattern}}"
  },
  {
   "refId": "B",
   "expr": "sum(rate(sse_edge_events_delivered_total{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"}[$__rate_interval]))",
   "legendFormat": "all"
  }
 ],
 "fieldConfig": {
  "defaults": {
   "unit": "ops",
   "noValue": "no data: is Prometheus scraping the edge? deploy/DASHBOARD.md says how",
   "color": {
    "mode": "palette-classic"
   },
   "min": 0
  },
  "overrides": [
   {
    "matcher": {
     "id": "byName",
     "options": "all"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "text"
      }
     },
     {
      "id": "custom.stacking",
      "value": {
       "mode": "none",
       "group": "B"
      }
     },
     {
      "id": "custom.fillOpacity",
      "value": 0
     },
     {
      "id": "custom.lineWidth",
      "value": 1
     }
    ]
   }
  ]
 }
};
const o19: Loose<Partial<ts.Options>> = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []}, "tooltip": {"mode": "multi", "sort": "desc"}};
const c19: Loose<Partial<ts.FieldConfig>> = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 30, "showPoints": "never", "spanNulls": false, "stacking": {"mode": "normal", "group": "A"}};
const p20: Loose<Panel> = {
 "id": 21,
 "type": "timeseries",
 "title": "From publishing to written",
 "description": "From Redis taking an event until all streams of a channel had it, looked at now and then. As exact as the buckets of the histogram.",
 "datasource": {
  "type": "prometheus",
  "uid": "${datasource}"
 },
 "gridPos": {
  "x": 12,
  "y": 39,
  "w": 12,
  "h": 8
 },
 "targets": [
  {
   "refId": "A",
   "expr": "histogram_quantile(0.5, sum by (le) (rate(sse_edge_delivery_seconds_bucket{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"}[$__rate_interval]))) >= 0",
   "legendFormat": "half"
  },
  {
   "refId": "B",
   "expr": "histogram_quantile(0.95, sum by (le) (rate(sse_edge_delivery_seconds_bucket{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"}[$__rate_interval]))) >= 0",
   "legendFormat": "95 %"
  },
  {
   "refId": "C",
   "expr": "histogram_quantile(0.99, sum by (le) (rate(sse_edge_delivery_seconds_bucket{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"}[$__rate_interval]))) >= 0",
   "legendFormat": "99 %"
  }
 ],
 "fieldConfig": {
  "defaults": {
   "unit": "s",
   "noValue": "no event yet",
   "color": {
    "mode": "palette-classic"
   },
   "min": 0,
   "thresholds": {
    "mode": "absolute",
    "steps": [
     {
      "color": "transparent",
      "value": null
     },
     {
      "color": "red",
      "value": 2
     }
    ]
   }
  },
  "overrides": []
 }
};
const o20: Loose<Partial<ts.Options>> = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []}, "tooltip": {"mode": "multi", "sort": "desc"}};
const c20: Loose<Partial<ts.FieldConfig>> = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": false, "stacking": {"mode": "none", "group": "A"}, "thresholdsStyle": {"mode": "dashed"}};
const p21: Loose<Panel> = {
 "id": 22,
 "type": "timeseries",
 "title": "History for those who came back",
 "description": "To find what a client has missed, and how many asked (right). Long: a long history, many who come back at once, or a slow Redis.",
 "datasource": {
  "type": "prometheus",
  "uid": "${datasource}"
 },
 "gridPos": {
  "x": 0,
  "y": 47,
  "w": 8,
  "h": 8
 },
 "targets": [
  {
   "refId": "A",
   "expr": "histogram_quantile(0.5, sum by (le) (rate(sse_edge_replay_seconds_bucket{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"}[$__rate_interval]))) >= 0",
   "legendFormat": "half"
  },
  {
   "refId": "B",
   "expr": "histogram_quantile(0.95, sum by (le) (rate(sse_edge_replay_seconds_bucket{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"}[$__rate_interval]))) >= 0",
   "legendFormat": "95 %"
  },
  {
   "refId": "C",
   "expr": "sum(rate(sse_edge_replay_seconds_count{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"}[$__rate_interval]))",
   "legendFormat": "asked"
  }
 ],
 "fieldConfig": {
  "defaults": {
   "unit": "s",
   "noValue": "nobody came back",
   "color": {
    "mode": "palette-classic"
   },
   "min": 0
  },
  "overrides": [
   {
    "matcher": {
     "id": "byName",
     "options": "asked"
    },
    "properties": [
     {
      "id": "unit",
      "value": "ops"
     },
     {
      "id": "custom.axisPlacement",
      "value": "right"
     },
     {
      "id": "custom.drawStyle",
      "value": "bars"
     },
     {
      "id": "custom.fillOpacity",
      "value": 25
     },
     {
      "id": "custom.lineWidth",
      "value": 0
     }
    ]
   }
  ]
 }
};
const o21: Loose<Partial<ts.Options>> = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []}, "tooltip": {"mode": "multi", "sort": "desc"}};
const c21: Loose<Partial<ts.FieldConfig>> = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": false, "stacking": {"mode": "none", "group": "A"}};
const p22: Loose<Panel> = {
 "id": 23,
 "type": "timeseries",
 "title": "Streams for which much waits",
 "description": "Share of the streams, looked at now and then, for which more than this is not sent yet. Who has more than max_unsent (1 MiB), or does not read for max_unsent_age, is ended as slow and comes back.",
 "datasource": {
  "type": "prometheus",
  "uid": "${datasource}"
 },
 "gridPos": {
  "x": 8,
  "y": 47,
  "w": 8,
  "h": 8
 },
 "targets": [
  {
   "refId": "A",
   "expr": "clamp_min(1 - sum(rate(sse_edge_unsent_bytes_bucket{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\", le=~\"1024([.]0)?\"}[$__rate_interval])) / sum(rate(sse_edge_unsent_bytes_count{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"}[$__rate_interval])), 0) >= 0",
   "legendFormat": "more than 1 KiB"
  },
  {
   "refId": "B",
   "expr": "clamp_min(1 - sum(rate(sse_edge_unsent_bytes_bucket{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\", le=~\"16384([.]0)?\"}[$__rate_interval])) / sum(rate(sse_edge_unsent_bytes_count{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"}[$__rate_interval])), 0) >= 0",
   "legendFormat": "more than 16 KiB"
  },
  {
   "refId": "C",
   "expr": "clamp_min(1 - sum(rate(sse_edge_unsent_bytes_bucket{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\", le=~\"131072([.]0)?\"}[$__rate_interval])) / sum(rate(sse_edge_unsent_bytes_count{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"}[$__rate_interval])), 0) >= 0",
   "legendFormat": "more than 128 KiB"
  }
 ],
 "fieldConfig": {
  "defaults": {
   "unit": "percentunit",
   "noValue": "nothing was looked at yet",
   "color": {
    "mode": "palette-classic"
   },
   "min": 0
  },
  "overrides": [
   {
    "matcher": {
     "id": "byName",
     "options": "more than 1 KiB"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "blue"
      }
     }
    ]
   },
   {
    "matcher": {
     "id": "byName",
     "options": "more than 16 KiB"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "orange"
      }
     }
    ]
   },
   {
    "matcher": {
     "id": "byName",
     "options": "more than 128 KiB"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "red"
      }
     }
    ]
   }
  ]
 }
};
const o22: Loose<Partial<ts.Options>> = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []}, "tooltip": {"mode": "multi", "sort": "desc"}};
const c22: Loose<Partial<ts.FieldConfig>> = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": false, "stacking": {"mode": "none", "group": "A"}};
const p23: Loose<Panel> = {
 "id": 24,
 "type": "timeseries",
 "title": "Requests to publish, and messages dropped",
 "description": "What programs POST to publish_path, by outcome, and messages on Redis that were no events: foreign ones come from another application with the same prefix, or from somebody who may PUBLISH there.",
 "datasource": {
  "type": "prometheus",
  "uid": "${datasource}"
 },
 "gridPos": {
  "x": 16,
  "y": 47,
  "w": 8,
  "h": 8
 },
 "targets": [
  {
   "refId": "A",
   "expr": "sum by (outcome) (rate(sse_edge_publishes_total{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"}[$__rate_interval])) > 0",
   "legendFormat": "{{outcome}}"
  },
  {
   "refId": "B",
   "expr": "sum by (reason) (rate(sse_edge_dropped_total{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"}[$__rate_interval])) > 0",
   "legendFormat": "dropped: {{reason}}"
  }
 ],
 "fieldConfig": {
  "defaults": {
   "unit": "ops",
   "noValue": "none; publishers in Python write to Redis themselves",
   "color": {
    "mode": "palette-classic"
   },
   "min": 0
  },
  "overrides": [
   {
    "matcher": {
     "id": "byName",
     "options": "published"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "green"
      }
     }
    ]
   },
   {
    "matcher": {
     "id": "byName",
     "options": "dropped: foreign"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "red"
      }
     }
    ]
   },
   {
    "matcher": {
     "id": "byName",
     "options": "dropped: malformed"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "orange"
      }
     }
    ]
   }
  ]
 }
};
const o23: Loose<Partial<ts.Options>> = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []}, "tooltip": {"mode": "multi", "sort": "desc"}};
const c23: Loose<Partial<ts.FieldConfig>> = {"drawStyle": "bars", "lineWidth": 0, "fillOpacity": 80, "showPoints": "never", "spanNulls": false, "stacking": {"mode": "normal", "group": "A"}};
const r24: Loose<RowPanel> = {"id": 25, "type": "row", "title": "Redis", "collapsed": false, "gridPos": {"x": 0, "y": 55, "w": 24, "h": 1}, "panels": []};
const p25: Loose<Panel> = {
 "id": 26,
 "type": "timeseries",
 "title": "Servers that hear Redis, and count together",
 "description": "All lines on one another: all is well. connected below scraped: those hear nothing. limits or writes below scraped: Redis refuses or is slow; its ACL, memory, disk and role say why.",
 "datasource": {
  "type": "prometheus",
  "uid": "${datasource}"
 },
 "gridPos": {
  "x": 0,
  "y": 56,
  "w": 8,
  "h": 8
 },
 "targets": [
  {
   "refId": "A",
   "expr": "count(sse_edge_connected{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"})",
   "legendFormat": "scraped"
  },
  {
   "refId": "B",
   "expr": "sum(sse_edge_connected{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"})",
   "legendFormat": "connected"
  },
  {
   "refId": "C",
   "expr": "sum(1 - sse_edge_degraded{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\", limit=\"leases\"})",
   "legendFormat": "limits together"
  },
  {
   "refId": "D",
   "expr": "sum(1 - sse_edge_degraded{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\", limit=\"writes\"})",
   "legendFormat": "writes taken"
  }
 ],
 "fieldConfig": {
  "defaults": {
   "unit": "short",
   "noValue": "no data: is Prometheus scraping the edge? deploy/DASHBOARD.md says how",
   "color": {
    "mode": "palette-classic"
   },
   "min": 0
  },
  "overrides": [
   {
    "matcher": {
     "id": "byName",
     "options": "scraped"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "text"
      }
     }
    ]
   },
   {
    "matcher": {
     "id": "byName",
     "options": "connected"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "green"
      }
     }
    ]
   },
   {
    "matcher": {
     "id": "byName",
     "options": "limits together"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "orange"
      }
     },
     {
      "id": "custom.lineStyle",
      "value": {
       "fill": "dash",
       "dash": [
        6,
        4
       ]
      }
     }
    ]
   },
   {
    "matcher": {
     "id": "byName",
     "options": "writes taken"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "blue"
      }
     },
     {
      "id": "custom.lineStyle",
      "value": {
       "fill": "dash",
       "dash": [
        2,
        4
       ]
      }
     }
    ]
   }
  ]
 }
};
const o25: Loose<Partial<ts.Options>> = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []}, "tooltip": {"mode": "multi", "sort": "desc"}};
const c25: Loose<Partial<ts.FieldConfig>> = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 0, "showPoints": "never", "spanNulls": false, "stacking": {"mode": "none", "group": "A"}};
const p26: Loose<Panel> = {
 "id": 27,
 "type": "timeseries",
 "title": "Position age",
 "description": "How long ago a worker last knew that it had everything up to then: of the worst, and of the median.",
 "datasource": {
  "type": "prometheus",
  "uid": "${datasource}"
 },
 "gridPos": {
  "x": 8,
  "y": 56,
  "w": 8,
  "h": 8
 },
 "targets": [
  {
   "refId": "A",
   "expr": "max(sse_edge_position_age_seconds{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"})",
   "legendFormat": "longest"
  },
  {
   "refId": "B",
   "expr": "quantile(0.5, sse_edge_position_age_seconds{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"})",
   "legendFormat": "median"
  }
 ],
 "fieldConfig": {
  "defaults": {
   "unit": "s",
   "noValue": "no data: is Prometheus scraping the edge? deploy/DASHBOARD.md says how",
   "color": {
    "mode": "palette-classic"
   },
   "min": 0,
   "thresholds": {
    "mode": "absolute",
    "steps": [
     {
      "color": "transparent",
      "value": null
     },
     {
      "color": "red",
      "value": 30
     }
    ]
   }
  },
  "overrides": []
 }
};
const o26: Loose<Partial<ts.Options>> = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []}, "tooltip": {"mode": "multi", "sort": "desc"}};
const c26: Loose<Partial<ts.FieldConfig>> = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": false, "stacking": {"mode": "none", "group": "A"}, "thresholdsStyle": {"mode": "dashed"}};
const p27: Loose<Panel> = {
 "id": 28,
 "type": "timeseries",
 "title": "Held and settling",
 "description": "Held: messages that wait for one before them, for longer than moments only when Redis has lost one (client-output-buffer-limit). Settling: subscriptions that Redis has not confirmed; many at once when Redis comes back.",
 "datasource": {
  "type": "prometheus",
  "uid": "${datasource}"
 },
 "gridPos": {
  "x": 16,
  "y": 56,
  "w": 8,
  "h": 8
 },
 "targets": [
  {
   "refId": "A",
   "expr": "sum(sse_edge_held{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"})",
   "legendFormat": "held"
  },
  {
   "refId": "B",
   "expr": "sum(sse_edge_settling{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"})",
   "legendFormat": "settling"
  }
 ],
 "fieldConfig": {
  "defaults": {
   "unit": "short",
   "noValue": "no data: is Prometheus scraping the edge? deploy/DASHBOARD.md says how",
   "color": {
    "mode": "palette-classic"
   },
   "min": 0
  },
  "overrides": [
   {
    "matcher": {
     "id": "byName",
     "options": "held"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "orange"
      }
     }
    ]
   },
   {
    "matcher": {
     "id": "byName",
     "options": "settling"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "blue"
      }
     }
    ]
   }
  ]
 }
};
const o27: Loose<Partial<ts.Options>> = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []}, "tooltip": {"mode": "multi", "sort": "desc"}};
const c27: Loose<Partial<ts.FieldConfig>> = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": false, "stacking": {"mode": "none", "group": "A"}};
const r28: Loose<RowPanel> = {"id": 29, "type": "row", "title": "Workers", "collapsed": false, "gridPos": {"x": 0, "y": 64, "w": 24, "h": 1}, "panels": []};
const p29: Loose<Panel> = {
 "id": 30,
 "type": "timeseries",
 "title": "Streams of each worker",
 "description": "One line far above the others: use least_conn in the proxy and a port for each worker; max_duration evens it out in time.",
 "datasource": {
  "type": "prometheus",
  "uid": "${datasource}"
 },
 "gridPos": {
  "x": 0,
  "y": 65,
  "w": 12,
  "h": 8
 },
 "targets": [
  {
   "refId": "A",
   "expr": "sse_edge_streams{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"} / sse_edge_workers{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"}",
   "legendFormat": "{{instance}} {{worker}}"
  }
 ],
 "fieldConfig": {
  "defaults": {
   "unit": "short",
   "noValue": "no data: is Prometheus scraping the edge? deploy/DASHBOARD.md says how",
   "color": {
    "mode": "palette-classic"
   },
   "min": 0
  },
  "overrides": []
 }
};
const o29: Loose<Partial<ts.Options>> = {"legend": {"displayMode": "table", "placement": "right", "showLegend": true, "calcs": ["lastNotNull"]}, "tooltip": {"mode": "multi", "sort": "desc"}};
const c29: Loose<Partial<ts.FieldConfig>> = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 0, "showPoints": "never", "spanNulls": false, "stacking": {"mode": "none", "group": "A"}};
const p30: Loose<Panel> = {
 "id": 31,
 "type": "timeseries",
 "title": "Evenness",
 "description": "Streams of the fullest worker for each that a worker has on average: 1 is even, and at 2 there is an alert.",
 "datasource": {
  "type": "prometheus",
  "uid": "${datasource}"
 },
 "gridPos": {
  "x": 12,
  "y": 65,
  "w": 6,
  "h": 8
 },
 "targets": [
  {
   "refId": "A",
   "expr": "max(sse_edge_streams{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"} / sse_edge_workers{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"}) / clamp_min(sum(sse_edge_streams{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"}) / sum(sse_edge_workers{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"}), 1)",
   "legendFormat": "fullest / average"
  }
 ],
 "fieldConfig": {
  "defaults": {
   "unit": "none",
   "noValue": "no data: is Prometheus scraping the edge? deploy/DASHBOARD.md says how",
   "color": {
    "mode": "palette-classic"
   },
   "thresholds": {
    "mode": "absolute",
    "steps": [
     {
      "color": "transparent",
      "value": null
     },
     {
      "color": "red",
      "value": 2
     }
    ]
   },
   "min": 0
  },
  "overrides": []
 }
};
const o30: Loose<Partial<ts.Options>> = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []}, "tooltip": {"mode": "multi", "sort": "desc"}};
const c30: Loose<Partial<ts.FieldConfig>> = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": false, "stacking": {"mode": "none", "group": "A"}, "thresholdsStyle": {"mode": "dashed"}, "axisSoftMax": 2.2};
const p31: Loose<Panel> = {
 "id": 32,
 "type": "timeseries",
 "title": "Workers and targets",
 "description": "Targets that Prometheus is given and those that answer, workers that answer there, and targets that take new streams. A rolling restart is a notch in each, of one at a time.",
 "datasource": {
  "type": "prometheus",
  "uid": "${datasource}"
 },
 "gridPos": {
  "x": 18,
  "y": 65,
  "w": 6,
  "h": 8
 },
 "targets": [
  {
   "refId": "A",
   "expr": "count(up{job=~\"$job\", instance=~\"$instance\"} and on (job) max_over_time(sse_edge_workers{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"}[1h]))",
   "legendFormat": "targets"
  },
  {
   "refId": "B",
   "expr": "count(count by (job, instance) (sse_edge_workers{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"}))",
   "legendFormat": "targets that answer"
  },
  {
   "refId": "C",
   "expr": "sum(sse_edge_workers{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"})",
   "legendFormat": "workers"
  },
  {
   "refId": "D",
   "expr": "sum(sse_edge_ready{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"})",
   "legendFormat": "ready"
  }
 ],
 "fieldConfig": {
  "defaults": {
   "unit": "short",
   "noValue": "no data: is Prometheus scraping the edge? deploy/DASHBOARD.md says how",
   "color": {
    "mode": "palette-classic"
   },
   "min": 0
  },
  "overrides": [
   {
    "matcher": {
     "id": "byName",
     "options": "targets"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "text"
      }
     }
    ]
   },
   {
    "matcher": {
     "id": "byName",
     "options": "targets that answer"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "purple"
      }
     },
     {
      "id": "custom.lineStyle",
      "value": {
       "fill": "dash",
       "dash": [
        6,
        4
       ]
      }
     }
    ]
   },
   {
    "matcher": {
     "id": "byName",
     "options": "workers"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "blue"
      }
     },
     {
      "id": "custom.lineStyle",
      "value": {
       "fill": "dash",
       "dash": [
        2,
        4
       ]
      }
     }
    ]
   },
   {
    "matcher": {
     "id": "byName",
     "options": "ready"
    },
    "properties": [
     {
      "id": "color",
      "value": {
       "mode": "fixed",
       "fixedColor": "green"
      }
     }
    ]
   }
  ]
 }
};
const o31: Loose<Partial<ts.Options>> = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []}, "tooltip": {"mode": "multi", "sort": "desc"}};
const c31: Loose<Partial<ts.FieldConfig>> = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 0, "showPoints": "never", "spanNulls": false, "stacking": {"mode": "none", "group": "A"}};
const p32: Loose<Panel> = {
 "id": 33,
 "type": "table",
 "title": "Each of them now",
 "description": "One row for each target or, where it is scraped with ?by=worker, for each worker. Click a head to sort.",
 "datasource": {
  "type": "prometheus",
  "uid": "${datasource}"
 },
 "gridPos": {
  "x": 0,
  "y": 73,
  "w": 24,
  "h": 8
 },
 "targets": [
  {
   "refId": "A",
   "expr": "sum by (instance, worker) (sse_edge_streams{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"})",
   "legendFormat": "",
   "format": "table",
   "instant": true,
   "range": false
  },
  {
   "refId": "B",
   "expr": "sum by (instance, worker) (sse_edge_workers{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"})",
   "legendFormat": "",
   "format": "table",
   "instant": true,
   "range": false
  },
  {
   "refId": "C",
   "expr": "min by (instance, worker) (sse_edge_connected{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"})",
   "legendFormat": "",
   "format": "table",
   "instant": true,
   "range": false
  },
  {
   "refId": "D",
   "expr": "min by (instance, worker) (sse_edge_ready{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"})",
   "legendFormat": "",
   "format": "table",
   "instant": true,
   "range": false
  },
  {
   "refId": "E",
   "expr": "max by (instance, worker) (sse_edge_position_age_seconds{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"})",
   "legendFormat": "",
   "format": "table",
   "instant": true,
   "range": false
  },
  {
   "refId": "F",
   "expr": "sum by (instance, worker) (sse_edge_held{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"})",
   "legendFormat": "",
   "format": "table",
   "instant": true,
   "range": false
  },
  {
   "refId": "G",
   "expr": "sum by (instance, worker) (sse_edge_settling{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"})",
   "legendFormat": "",
   "format": "table",
   "instant": true,
   "range": false
  },
  {
   "refId": "H",
   "expr": "sum by (instance, worker) (rate(sse_edge_events_delivered_total{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"}[$__rate_interval]))",
   "legendFormat": "",
   "format": "table",
   "instant": true,
   "range": false
  },
  {
   "refId": "I",
   "expr": "sum by (instance, worker) (rate(sse_edge_refusals_total{job=~\"$job\", instance=~\"$instance\", worker=~\"$worker\"}[$__rate_interval]))",
   "legendFormat": "",
   "format": "table",
   "instant": true,
   "range": false
  }
 ],
 "fieldConfig": {
  "defaults": {
   "noValue": "no data: is Prometheus scraping the edge? deploy/DASHBOARD.md says how",
   "thresholds": {
    "mode": "absolute",
    "steps": [
     {
      "color": "text",
      "value": null
     }
    ]
   }
  },
  "overrides": [
   {
    "matcher": {
     "id": "byName",
     "options": "Hears Redis"
    },
    "properties": [
     {
      "id": "mappings",
      "value": [
       {
        "type": "value",
        "options": {
         "0": {
          "text": "no",
          "color": "red"
         },
         "1": {
          "text": "yes",
          "color": "green"
         }
        }
       }
      ]
     },
     {
      "id": "custom.cellOptions",
      "value": {
       "type": "color-text"
      }
     }
    ]
   },
   {
    "matcher": {
     "id": "byName",
     "options": "Takes streams"
    },
    "properties": [
     {
      "id": "mappings",
      "value": [
       {
        "type": "value",
        "options": {
         "0": {
          "text": "no",
          "color": "orange"
         },
         "1": {
          "text": "yes",
          "color": "green"
         }
        }
       }
      ]
     },
     {
      "id": "custom.cellOptions",
      "value": {
       "type": "color-text"
      }
     }
    ]
   },
   {
    "matcher": {
     "id": "byName",
     "options": "Position age"
    },
    "properties": [
     {
      "id": "unit",
      "value": "s"
     },
     {
      "id": "thresholds",
      "value": {
       "mode": "absolute",
       "steps": [
        {
         "color": "text",
         "value": null
        },
        {
         "color": "red",
         "value": 30
        }
       ]
      }
     },
     {
      "id": "custom.cellOptions",
      "value": {
       "type": "color-text"
      }
     }
    ]
   },
   {
    "matcher": {
     "id": "byName",
     "options": "Events/s"
    },
    "properties": [
     {
      "id": "unit",
      "value": "short"
     },
     {
      "id": "decimals",
      "value": 1
     }
    ]
   },
   {
    "matcher": {
     "id": "byName",
     "options": "Refused/s"
    },
    "properties": [
     {
      "id": "unit",
      "value": "short"
     },
     {
      "id": "decimals",
      "value": 1
     }
    ]
   }
  ]
 },
 "transformations": [
  {
   "id": "merge",
   "options": {}
  },
  {
   "id": "organize",
   "options": {
    "excludeByName": {
     "Time": true
    },
    "indexByName": {},
    "renameByName": {
     "instance": "Server",
     "worker": "Worker",
     "Value #A": "Streams",
     "Value #B": "Workers",
     "Value #C": "Hears Redis",
     "Value #D": "Takes streams",
     "Value #E": "Position age",
     "Value #F": "Held",
     "Value #G": "Settling",
     "Value #H": "Events/s",
     "Value #I": "Refused/s"
    }
   }
  }
 ]
};
const o32: Loose<Partial<tb.Options>> = {"showHeader": true, "cellHeight": "sm", "sortBy": [{"displayName": "Streams", "desc": true}]};
const c32: Loose<Partial<any>> = {"align": "auto", "filterable": true};
