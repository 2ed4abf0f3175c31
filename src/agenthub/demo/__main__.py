from agenthub.demo.server import server

server.run()
