"""status.py N COMMAND...: runs the command, passes its output on, fails unless it ends with status N."""
import subprocess
import sys

result = subprocess.run(sys.argv[2:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
sys.stdout.buffer.write(result.stdout)
sys.exit(0 if result.returncode == int(sys.argv[1]) else f"expected status {sys.argv[1]}, but got {result.returncode}")
