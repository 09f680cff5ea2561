"""What is known of the containers of a Kubernetes cluster.

::

    names    what the path of a log file says            access   where the API is, and how to log in
    pods     what the API says about a pod, kept by UID  watch    one list and watch, shared by all who ask
"""
