# Programs on the public headers: they see include/ and nothing of src/.

# peal_add_programs(<folder> [INSTALL])
#
# Each <folder>/*.c, and each <folder>/<name>/*.c together, becomes a program
# in <build>/<folder>/ that is linked with the static library. The files in
# <folder>/<name>/page/ become part of it.
function(peal_add_programs folder)
    cmake_parse_arguments(PARSE_ARGV 1 arg "INSTALL" "" "")
    set(here ${PROJECT_SOURCE_DIR}/${folder})
    file(GLOB single CONFIGURE_DEPENDS ${here}/*.c)
    foreach(source IN LISTS single)
        cmake_path(GET source STEM name)
        peal_add_program(${folder} ${name} ${source})
    endforeach()

    file(GLOB children CONFIGURE_DEPENDS LIST_DIRECTORIES true ${here}/*)
    foreach(child IN LISTS children)
        if(NOT IS_DIRECTORY ${child} OR child MATCHES "/node_modules$")
            continue()
        endif()
        file(GLOB sources CONFIGURE_DEPENDS ${child}/*.c)
        if(NOT sources)
            continue()
        endif()
        cmake_path(GET child FILENAME name)
        peal_add_program(${folder} ${name} ${sources})
        if(IS_DIRECTORY ${child}/page)
            peal_embed_page(${folder}_${name} ${child}/page)
        endif()
        if(arg_INSTALL)
            install(TARGETS ${folder}_${name})
        endif()
    endforeach()
endfunction()

# The target is <folder>_<name>, because a demo, a test and a benchmark may
# well share a name; the program's file is called <name>.
function(peal_add_program folder name)
    set(target ${folder}_${name})
    add_executable(${target} ${ARGN})
    set_target_properties(${target} PROPERTIES
        OUTPUT_NAME ${name}
        RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/${folder})
    target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/include)
    target_link_libraries(${target} PRIVATE peal_flags Threads::Threads m)
    if(TARGET peal_static)
        target_link_libraries(${target} PRIVATE peal_static)
    endif()
endfunction()
