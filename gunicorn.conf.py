"""How gunicorn serves Sealpost, where it is started in this folder; what stands on its command line comes first."""

bind = "127.0.0.1:8000"
workers = 2
worker_class = "gthread"  # its threads get whole requests only (blueprints/gunicorn_requests.py)
threads = 8
timeout = 30  # seconds without a sign of life of a worker, whatever its threads wait for
graceful_timeout = 7  # from SIGTERM to the end of all; Docker kills after 10
keepalive = 5
control_socket_disable = True
